"""A legend outside the axes: entries in columns above the footer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.report.sheet import MARGIN, Sheet
from bench.report.style import INK, Style, font_size, measure

ENTRY = 0.16  # inches of an entry before its text


def _layout(names: Sequence[str], width: float) -> tuple[int, int, float]:
    """Columns, rows and the height of a row in inches."""
    points = font_size(width)
    widest = max(measure(name, points)[0] for name in names) + ENTRY + 0.1
    columns = max(1, min(4, int((width - 2 * MARGIN) / widest)))
    return columns, -(-len(names) // columns), measure("Xy", points)[1] * 1.25


def legend_height(names: Sequence[str], width: float) -> float:
    """Inches that a legend needs at a figure's width."""
    _, rows, pitch = _layout(names, width)
    return pitch * rows + 2 * MARGIN


def draw_legend(sheet: Sheet, names: Sequence[str], style: Mapping[str, Style]) -> None:
    """Entries from the top down, column by column."""
    from matplotlib.lines import Line2D

    columns, rows, pitch = _layout(names, sheet.width)
    step = (sheet.width - 2 * MARGIN) / columns
    for i, name in enumerate(names):
        x, y = MARGIN + step * (i // rows), MARGIN + pitch * (rows - i % rows - 0.5)
        look = style[name]
        marker = Line2D(
            [(x + 0.06) / sheet.width],
            [(y + sheet.foot) / sheet.height],
            color=look.colour,
            marker=look.marker,
            markeredgewidth=0,
        )
        sheet.fig.add_artist(marker)
        sheet.text(x + ENTRY, y, name, color=INK, gid=f"legend {name}")
