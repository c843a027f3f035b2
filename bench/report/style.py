"""How figures look: Okabe and Ito's colours, distinct markers and lines, sizes for paper.

Colours are those of Okabe and Ito (2008) without yellow, which is too light on paper; colour, marker and line style
cycle with different periods, so that seventy methods are told apart and none by colour alone.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.store import write_durable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

COLUMN, PAGE = 3.3, 6.8  # inches: one column of a paper, and its whole width
WIDTHS: Mapping[str, float] = {"": PAGE, "-column": COLUMN}
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
_LINES = ("-", "--", "-.", ":")
GREY, INK = "#555555", "#222222"
DPI = 300


@dataclass(frozen=True)
class Style:
    """How one method is drawn."""

    colour: str
    marker: str
    line: str


def styles(methods: Sequence[str]) -> dict[str, Style]:
    """A style for each method, the same in every figure of a section."""
    return {name: Style(_COLOURS[i % 7], _MARKERS[i % 10], _LINES[(i // 7) % 4]) for i, name in enumerate(methods)}


def font_size(width: float) -> float:
    """Points; never under 5.5, which is the least that prints well."""
    return 7.0 if width > COLUMN else 5.5


def figure(width: float, height: float) -> Figure:
    """An empty figure in inches, drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    result = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(result)
    return result


def look(width: float) -> AbstractContextManager[None]:
    """Matplotlib's parameters for a width, while the context lasts."""
    import matplotlib

    size = font_size(width)
    settings: dict[Any, Any] = {
        "font.size": size,
        "axes.labelsize": size,
        "xtick.labelsize": size - 0.5,
        "ytick.labelsize": size - 0.5,
        "axes.linewidth": 0.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.major.width": 0.5,
        "ytick.major.width": 0.5,
        "xtick.minor.width": 0.3,
        "ytick.minor.width": 0.3,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "xtick.minor.size": 1.5,
        "ytick.minor.size": 1.5,
        "lines.linewidth": 0.8,
        "lines.markersize": 3.0 if width > COLUMN else 2.5,
        "svg.hashsalt": "bench",
        "svg.fonttype": "path",
        "image.composite_image": False,  # composed, small pictures would be blurred in SVG
        "text.parse_math": False,  # underscores and dollar signs in names are letters
    }
    return matplotlib.rc_context(settings)


def size_of(text: Text) -> tuple[float, float]:
    """Width and height of a text in inches."""
    fig = text.get_figure(root=True)
    assert fig is not None
    box = text.get_window_extent(fig.canvas.get_renderer())  # type: ignore[attr-defined]
    return box.width / fig.dpi, box.height / fig.dpi


@cache
def measure(label: str, points: float) -> tuple[float, float]:
    """Width and height in inches that a label takes at a font size."""
    return size_of(figure(1, 1).text(0, 0, label, fontsize=points))


def wrap(label: str, points: float, width: float) -> str:
    """Break a spec at its bracket and commas into lines of at most so many inches, where it can be."""
    if measure(label, points)[0] <= width:
        return label
    pieces = label.replace("[", "[\0").replace(",", ",\0").replace(" (", " \0(").split("\0")
    lines = [pieces[0]]
    for piece in pieces[1:]:
        indent = "  "
        if measure(lines[-1] + piece, points)[0] <= width:
            lines[-1] += piece
        else:
            lines.append(indent + piece)
    return "\n".join(lines)


def save(fig: Figure, stem: Path, caption: str) -> list[Path]:
    """Write PNG and SVG, the same bytes for the same content; the caption travels inside.

    Raises:
        OutputError: the files cannot be written.
    """
    written = []
    for suffix, silenced in (("png", ("Software",)), ("svg", ("Date", "Creator"))):
        buffer = io.BytesIO()
        fig.savefig(buffer, format=suffix, metadata={**dict.fromkeys(silenced), "Description": caption})
        written.append(stem.with_name(f"{stem.name}.{suffix}"))
        write_durable(written[-1], buffer.getvalue())
    return written
