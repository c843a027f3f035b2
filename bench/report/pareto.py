"""Quality against latency: one panel per batch size, the Pareto front labelled, all methods in a legend outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from bench.record import Measured
from bench.report.labels import Box, place
from bench.report.legend import draw_legend, legend_height
from bench.report.sections import Section
from bench.report.sheet import MARGIN, Sheet, footer_text, limits, log_axis
from bench.report.style import COLUMN, GREY, INK, Style, font_size, measure, styles, wrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, BOTTOM, TOP, GAP = 0.5, 0.36, 0.17, 0.06  # inches
HEIGHT = {True: 2.3, False: 1.75}  # inches, of a panel on a page and in a column


@dataclass(frozen=True)
class Dot:
    """A method at a budget: milliseconds per image and the value of the ranking metric."""

    method: str
    nfe: int
    time: float
    value: Measured


def dots(section: Section, batch: int) -> list[Dot]:
    """All points that have both a value and a latency at this batch size."""
    found = []
    for point in section.points:
        value, entry = point.value(section.metric), point.latency.get(batch)
        if value is not None and entry is not None:
            found.append(Dot(point.method, point.nfe, 1e3 * entry.p50 / batch, value))
    return found


def front(found: Sequence[Dot]) -> list[Dot]:
    """Those that no other is at least as fast and as good as, and better in one; fastest first."""
    if not found:
        return []
    sign = 1 if found[0].value.better == "lower" else -1
    best, result = float("inf"), []
    for dot in sorted(found, key=lambda dot: (dot.time, sign * dot.value.value, dot.method)):
        if sign * dot.value.value < best:
            best = sign * dot.value.value
            result.append(dot)
    return result


def _scale(axes: Axes, found: Sequence[Dot], best: Sequence[Dot], label: str) -> None:
    fastest, slowest = min(dot.time for dot in found), max(dot.time for dot in found)
    ratio = max(slowest / fastest, 1.1)
    axes.set_xscale("log")
    axes.set_xlim(fastest / ratio**0.1, slowest * ratio**0.1)
    log_axis(axes.xaxis)
    bottom, top, is_log = limits([dot.value for dot in found], [dot.value for dot in best], 0.1)
    axes.set_yscale("log" if is_log else "linear")
    axes.set_ylim(bottom, top)
    if is_log:
        log_axis(axes.yaxis)
    axes.set_xlabel("milliseconds per image (p50)")
    axes.set_ylabel(label)
    axes.grid(True, color="#e6e6e6", linewidth=0.4)
    axes.set_axisbelow(True)


def _bar(dot: Dot, frame: tuple[float, float]) -> tuple[float, float]:
    """Where the interval of a dot begins and ends, within the frame; its value twice if it has none."""
    value, low, high = dot.value.value, dot.value.low, dot.value.high
    return (value, value) if low is None or high is None else (max(low, frame[0]), min(high, frame[1]))


def _draw(axes: Axes, found: Sequence[Dot], best: Sequence[Dot], style: Mapping[str, Style]) -> None:
    axes.step([d.time for d in best], [d.value.value for d in best], where="post", color=GREY, linewidth=0.7, zorder=1)
    on_front = {(dot.method, dot.nfe) for dot in best}
    for dot in found:
        look = style[dot.method]
        strong = (dot.method, dot.nfe) in on_front
        axes.plot(
            [dot.time],
            [dot.value.value],
            color=look.colour,
            marker=look.marker,
            linestyle="none",
            alpha=1.0 if strong else 0.45,
            markeredgecolor=INK if strong else "none",
            markeredgewidth=0.5 if strong else 0.0,
            zorder=4 if strong else 2,
        )
        if strong:
            axes.vlines(dot.time, *_bar(dot, axes.get_ylim()), color=INK, linewidth=0.6, zorder=3)


def _label(sheet: Sheet, axes: Axes, found: Sequence[Dot], best: Sequence[Dot]) -> None:
    """Names of the front's points, placed where they cover neither points nor each other nor the front and its bars."""
    from matplotlib.lines import Line2D

    dpi, points = sheet.fig.dpi, font_size(sheet.width) - 0.5

    def at(time: float, value: float) -> tuple[float, float]:
        x, y = axes.transData.transform((time, value))
        return x / dpi, y / dpi

    half = 0.025
    taken = [Box(x - half, y - half, x + half, y + half) for x, y in (at(d.time, d.value.value) for d in found)]
    for one, two in pairwise(best):
        (x0, y0), (x1, y1) = at(one.time, one.value.value), at(two.time, two.value.value)
        taken += [Box(x0, y0 - 0.01, x1, y0 + 0.01), Box(x1 - 0.01, min(y0, y1), x1 + 0.01, max(y0, y1))]
    ends = axes.get_ylim()
    for dot in best:
        low, high = _bar(dot, ends)
        (x, y0), (_, y1) = at(dot.time, low), at(dot.time, high)
        taken.append(Box(x - 0.01, y0, x + 0.01, y1))
    window = axes.get_window_extent()
    frame = Box(window.x0 / dpi + 0.02, window.y0 / dpi + 0.02, window.x1 / dpi + 0.04, window.y1 / dpi + TOP)
    for dot in best:
        text = wrap(f"{dot.method}, {dot.nfe}", points, 0.45 * (frame.right - frame.left))
        width, height = measure(text, points)
        x, y = at(dot.time, dot.value.value)
        box = place((x, y), (width + 0.02, height + 0.02), taken, frame, 0.035)
        taken.append(box)
        near = (min(max(x, box.left), box.right), min(max(y, box.bottom), box.top))
        xs, ys = [x / sheet.width, near[0] / sheet.width], [y / sheet.height, near[1] / sheet.height]
        sheet.fig.add_artist(Line2D(xs, ys, color=GREY, linewidth=0.35))
        name = f"label {dot.method} {dot.nfe}"
        middle = (box.bottom + box.top) / 2 - sheet.foot
        sheet.text(box.left + 0.01, middle, text, fontsize=points, color=INK, gid=name)


def figure(section: Section, width: float) -> Figure | None:
    """The figure at a width in inches; None without values that have a latency."""
    batches = sorted({batch for point in section.points for batch in point.latency})
    panels = {batch: found for batch in batches if (found := dots(section, batch))}
    if not panels:
        return None
    shown = {dot.method for found in panels.values() for dot in found}
    names = [name for name in section.methods if name in shown]
    legend = legend_height(names, width)
    across = len(panels) if width > COLUMN else 1
    down = -(-len(panels) // across)
    height = HEIGHT[width > COLUMN]
    unit = TOP + height + BOTTOM
    sheet = Sheet(width, legend + down * unit + (down - 1) * GAP, footer_text(section, section.protocols[0]))
    style = styles(section.methods)
    breadth = (width - MARGIN) / across
    for i, (batch, found) in enumerate(panels.items()):
        left, bottom = (i % across) * breadth, legend + (down - 1 - i // across) * (unit + GAP) + BOTTOM
        axes = sheet.axes(left + LEFT, bottom, breadth - LEFT - 0.08, height)
        best = front(found)
        _scale(axes, found, best, section.label(section.metric))
        _draw(axes, found, best, style)
        _label(sheet, axes, found, best)
        sheet.text(
            left + LEFT,
            bottom + height + TOP / 2,
            f"batch {batch}",
            color=GREY,
            fontweight="bold",
            gid=f"panel {batch}",
        )
    draw_legend(sheet, names, style)
    return sheet.fig
