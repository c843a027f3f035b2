"""Quality against evaluations: one panel per family, labels beside the ends of the lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.record import Measured
from bench.report.chosen import chosen
from bench.report.labels import spread
from bench.report.sections import Section
from bench.report.sheet import MARGIN, Sheet, footer_text, limits, log_axis
from bench.report.style import GREY, INK, Style, font_size, measure, styles, wrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, BOTTOM, TOP, GAP = 0.5, 0.36, 0.17, 0.12  # inches: tick labels, x axis, panel's name, between panels
LEAST = 1.15  # inches, height of a panel
LEADER = 0.22  # inches between the axes and the labels
DODGE = 0.05  # lines at one NFE stand apart by this much of an octave in all


@dataclass(frozen=True)
class Curve:
    """The points of one method that have a value: (NFE, value)."""

    method: str
    points: tuple[tuple[int, Measured], ...]


def curves(section: Section, metric: str) -> dict[str, list[Curve]]:
    """Curves by family; methods without a single value are not drawn."""
    found: dict[str, list[Curve]] = {}
    for method in section.methods:
        points = []
        for nfe in section.nfe:
            point = section.at(method, nfe)
            value = point.value(metric) if point else None
            if value is not None:
                points.append((nfe, value))
        if points:
            found.setdefault(section.family(method), []).append(Curve(method, tuple(points)))
    return found


def _draw(axes: Axes, curve: Curve, style: Style, dodge: float) -> None:
    x = [nfe * dodge for nfe, _ in curve.points]
    y = [measured.value for _, measured in curve.points]
    below = [value - (m.low if m.low is not None else value) for value, (_, m) in zip(y, curve.points, strict=True)]
    above = [(m.high if m.high is not None else value) - value for value, (_, m) in zip(y, curve.points, strict=True)]
    if axes.get_yscale() == "log":  # an interval that reaches 0 ends at the frame
        below = [min(error, 0.999 * value) for error, value in zip(below, y, strict=True)]
    axes.errorbar(
        x,
        y,
        yerr=[[max(error, 0.0) for error in below], [max(error, 0.0) for error in above]],
        color=style.colour,
        marker=style.marker,
        linestyle=style.line,
        elinewidth=0.6,
        capsize=1.2,
        capthick=0.5,
        markeredgewidth=0.0,
    )


def _scale(axes: Axes, section: Section, values: Sequence[Measured], label: str) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    budgets = section.nfe
    axes.set_xscale("log", base=2)
    axes.set_xlim(budgets[0] / 1.15, budgets[-1] * 1.15)
    axes.xaxis.set_major_locator(FixedLocator(budgets))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bottom, top, is_log = limits(values, values, 0.05)
    axes.set_yscale("log" if is_log else "linear")
    axes.set_ylim(bottom, top)
    if is_log:
        log_axis(axes.yaxis)
    axes.set_ylabel(label)
    axes.grid(True, color="#e6e6e6", linewidth=0.4)
    axes.set_axisbelow(True)


def _label(sheet: Sheet, axes: Axes, lines: Sequence[tuple[Curve, str, float]], style: Mapping[str, Style]) -> None:
    """Labels in the right margin, each led to by a thin line from the curve's last point.

    Args:
        lines: curve, its label with line breaks, and its dodge.
    """
    from matplotlib.lines import Line2D

    dpi, points = sheet.fig.dpi, font_size(sheet.width)
    ends = []
    for curve, _, dodge in lines:
        nfe, measured = curve.points[-1]
        ends.append([value / dpi for value in axes.transData.transform((nfe * dodge, measured.value))])
    frame = axes.get_window_extent()
    heights = [measure(label, points)[1] + 0.025 for _, label, _ in lines]
    centres = spread([y for _, y in ends], heights, frame.y0 / dpi, frame.y1 / dpi + TOP * 0.5)
    right = frame.x1 / dpi
    for (curve, label, _), (x, y), centre in zip(lines, ends, centres, strict=True):
        colour = style[curve.method].colour
        path = [(x, y), (right + 0.02, y), (right + LEADER - 0.08, centre), (right + LEADER - 0.03, centre)]
        xs, ys = [p[0] / sheet.width for p in path], [p[1] / sheet.height for p in path]
        # dotted inside the frame: a method that ends at a lower budget must not look as if its curve went on
        sheet.fig.add_artist(Line2D(xs[:2], ys[:2], color=colour, linewidth=0.35, linestyle=(0, (1, 5))))
        sheet.fig.add_artist(Line2D(xs[1:], ys[1:], color=colour, linewidth=0.35))
        marker = style[curve.method].marker
        sheet.fig.add_artist(
            Line2D(xs[-1:], ys[-1:], color=colour, marker=marker, markersize=points * 0.45, markeredgewidth=0)
        )
        sheet.text(right + LEADER + 0.02, centre - sheet.foot, label, color=INK, gid=f"label {curve.method}")


def figure(section: Section, metric: str, width: float) -> Figure | None:
    """The figure at a width in inches; None if there is nothing to draw."""
    every = curves(section, metric)
    if not every:
        return None
    named = set(chosen(section, metric))
    found = {family: [curve for curve in group if curve.method in named] for family, group in every.items()}
    points = font_size(width)
    room = 0.34 * width
    label = {c.method: wrap(c.method, points, room) for group in found.values() for c in group}
    column = max(measure(text, points)[0] for text in label.values()) + LEADER + MARGIN + 0.04
    needed = {name: sum(measure(label[c.method], points)[1] + 0.025 for c in group) for name, group in found.items()}
    heights = [max(LEAST, need) for need in needed.values()]
    sheet = Sheet(width, BOTTOM + sum(heights) + len(heights) * (TOP + GAP) - GAP, footer_text(section))
    style = styles(section.methods)
    # a method that is not named may leave the frame
    values = [measured for group in found.values() for curve in group for _, measured in curve.points]
    top = sheet.height - sheet.foot
    for (name, group), height in zip(found.items(), heights, strict=True):
        bottom = top - TOP - height
        axes = sheet.axes(LEFT, bottom, width - LEFT - column, height)
        _scale(axes, section, values, section.label(metric))
        for other, curves_of in every.items():
            for curve in curves_of if other != name else [c for c in curves_of if c.method not in named]:
                axes.plot(
                    [n for n, _ in curve.points], [m.value for _, m in curve.points], color="#d9d9d9", linewidth=0.5
                )
        dodges = [2 ** (DODGE * (2 * i - len(group) + 1) / max(len(group) - 1, 1)) for i in range(len(group))]
        for curve, dodge in zip(group, dodges, strict=True):
            _draw(axes, curve, style[curve.method], dodge)
        _label(sheet, axes, [(c, label[c.method], d) for c, d in zip(group, dodges, strict=True)], style)
        sheet.text(LEFT, top - TOP / 2, name, color=GREY, fontweight="bold", gid=f"panel {name}")
        top = bottom - GAP
        is_last = name == list(found)[-1]
        axes.tick_params(labelbottom=is_last)
        axes.set_xlabel("function evaluations (NFE)" if is_last else "")
    return sheet.fig
