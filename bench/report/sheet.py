"""A figure with room for its footer: the axes are laid out in inches above it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING

from bench.record import Measured
from bench.report.provenance import intervals, lines, seeds
from bench.report.sections import Section
from bench.report.style import COLUMN, GREY, figure, font_size, measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

MARGIN = 0.04  # inches around everything


def footer_text(section: Section, protocol: str = "") -> str:
    """What must stand on the figure itself; the rest is in its caption."""
    numbers = ", ".join(map(str, seeds(section)))
    parts = [
        f"Suite {section.heading}" + (f"@{section.revision[:8]}" if section.heading == section.suite else ""),
        f"n = {section.samples}, seeds {numbers}",
        section.metric,
        f"intervals: {intervals(section, (section.metric,))}",
        *([protocol] if protocol else []),
        *(
            line.rstrip(".")
            for line in lines(section, (), latency=False, ranks=False)[-3:]
            if line.startswith(("Hard", "Vers"))
        ),
    ]
    return "; ".join(parts) + "."


class Sheet:
    """A figure of a given width whose body sits above a small grey footer.

    Args:
        width: inches.
        body: height of everything but the footer, inches.
        footer: one paragraph.
    """

    def __init__(self, width: float, body: float, footer: str) -> None:
        points = 5.0 if width > COLUMN else 4.5
        per_inch = 100 / measure("n" * 100, points)[0]
        text = "\n".join(textwrap.wrap(footer, int(per_inch * (width - 2 * MARGIN) * 1.08), break_on_hyphens=False))
        self.foot = measure(text, points)[1] + 2 * MARGIN
        self.width, self.height = width, body + self.foot
        self.fig: Figure = figure(self.width, self.height)
        self.fig.text(
            MARGIN / width, MARGIN / self.height, text, fontsize=points, color=GREY, va="bottom", gid="footer"
        )

    def axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """Axes at a place in inches; the bottom is counted from above the footer."""
        rectangle = (
            left / self.width,
            (bottom + self.foot) / self.height,
            width / self.width,
            height / self.height,
        )
        return self.fig.add_axes(rectangle)

    def text(self, x: float, y: float, label: str, **style: str | float) -> None:
        """A text with its left middle at a place in inches, counted as for axes."""
        points = font_size(self.width)
        options = {"fontsize": points, "va": "center", "ha": "left", "linespacing": 1.05} | style
        self.fig.text(x / self.width, (y + self.foot) / self.height, label, **options)  # type: ignore[arg-type]


def wants_log(values: Iterable[float]) -> bool:
    """Whether an axis of these values should be logarithmic: all positive, over more than a factor of 20."""
    found = list(values)
    return bool(found) and min(found) > 0 and max(found) / min(found) > 20


def limits(shown: Iterable[Measured], barred: Iterable[Measured], margin: float) -> tuple[float, float, bool]:
    """Ends of an axis that hold values and their intervals, and whether it is logarithmic.

    Intervals widen the axis by no more than half of what the values span, or the median length of an interval, so that
    one long interval does not press everything else flat; it is cut by the frame. So is one that reaches 0 on a
    logarithmic axis.

    Args:
        shown: what is drawn.
        barred: what is drawn with its interval.
        margin: room at either end, in parts of the whole.
    """
    values = [measured.value for measured in shown]
    is_log = wants_log(values)
    forward, back = (math.log, math.exp) if is_log else (float, float)
    ends = [(m.value, m.low, m.high) for m in barred if m.low is not None and m.high is not None]
    bars = [(forward(value if is_log and low <= 0 else low), forward(high)) for value, low, high in ends]
    bottom, top = forward(min(values)), forward(max(values))
    reach = max((top - bottom) / 2, median(high - low for low, high in bars)) if bars else 0.0
    bottom, top = (
        max(min([bottom, *(low for low, _ in bars)]), bottom - reach),
        min(max([top, *(high for _, high in bars)]), top + reach),
    )
    pad = margin * (top - bottom or abs(top) or 1.0)
    return back(bottom - pad), back(top + pad), is_log


def log_axis(axis: Axis) -> None:
    """Ticks in plain numbers on a logarithmic axis: also 2 and 5 where there is room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    subs: Sequence[float] = (1, 2, 5) if high / low < 300 else (1,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}" if 1e-4 <= value < 1e5 else f"{value:.0e}"))
    axis.set_minor_formatter(NullFormatter())
