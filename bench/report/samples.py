"""Samples from the same noise: methods down, evaluations across, the same sample at the same place everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.record import Record
from bench.report.chosen import chosen
from bench.report.load import Results
from bench.report.numbers import MISSING
from bench.report.point import Point
from bench.report.sections import Section
from bench.report.sheet import MARGIN, Sheet, footer_text
from bench.report.style import COLUMN, GREY, INK, font_size, measure, wrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

HEADER = 0.18  # inches above the first row
GAP = 0.05  # inches between budgets, and between rows
SHOWN = {True: 8, False: 5}  # samples per cell on a page and in a column
Key = tuple[str, int]  # method, NFE


def strip(preview: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Pictures (n, C, H, W) side by side as (H, count W + gaps, 3), white between."""
    pictures = preview[:count]
    pictures = np.repeat(pictures, 3, axis=1) if pictures.shape[1] == 1 else pictures[:, :3]
    gap = max(1, pictures.shape[3] // 16)
    padded = np.pad(pictures, ((0, 0), (0, 0), (0, 0), (0, gap)), constant_values=255)
    n, channels, height, width = padded.shape
    joined: NDArray[np.uint8] = padded.transpose(2, 0, 3, 1).reshape(height, n * width, channels)[:, :-gap]
    return joined


def by_cell(section: Section, read: Callable[[Record], NDArray[np.uint8] | None]) -> dict[Key, NDArray[np.uint8]]:
    """Pictures or clips by method and NFE, of the first seed.

    Args:
        read: what lies beside a record.
    """
    seed = min(record.cell.seed for point in section.points for record in point.records)
    found = {}
    for point in section.points:
        record = next((record for record in point.ok if record.cell.seed == seed), None)
        preview = read(record) if record else None
        if preview is not None and len(preview):
            found[point.method, point.nfe] = preview
    return found


def shown(found: Iterable[NDArray[np.uint8]], width: float) -> int:
    """How many samples stand side by side in a cell: fewer of wide ones."""
    *_, height, breadth = next(iter(found)).shape
    wanted = SHOWN[width > COLUMN] * min(1.0, height / breadth)
    return min(max(2, int(wanted)), min(len(each) for each in found))


def _absent(point: Point | None) -> str:
    return MISSING if point is None or point.ok else str(point.status)


def figure(section: Section, results: Results, width: float) -> Figure | None:
    """The figure at a width in inches; None if the suite has no pictures."""
    found = by_cell(section, results.preview)
    if not found:
        return None
    count = shown(found.values(), width)
    return sheet_of({key: strip(preview, count) for key, preview in found.items()}, section, width)[0]


def sheet_of(
    strips: Mapping[Key, NDArray[np.uint8]], section: Section, width: float
) -> tuple[Figure, dict[Key, AxesImage]]:
    """Strips (H, L, 3) of equal size by method and NFE; the figure and its pictures, whose data may be replaced."""
    points = font_size(width)
    methods = [m for m in chosen(section, section.metric) if any((m, nfe) in strips for nfe in section.nfe)]
    labels = {method: wrap(method, points, 0.3 * width) for method in methods}
    column = max(measure(text, points)[0] for text in labels.values()) + 2 * MARGIN + 0.04
    breadth = (width - column - MARGIN + GAP) / len(section.nfe) - GAP
    height, long, _ = next(iter(strips.values())).shape
    tall = breadth * height / long
    pitch = [max(tall, measure(labels[method], points)[1]) + GAP for method in methods]
    sheet = Sheet(width, HEADER + sum(pitch) + MARGIN, footer_text(section))
    for i, nfe in enumerate(section.nfe):
        sheet.text(
            column + i * (breadth + GAP), sheet.height - sheet.foot - HEADER / 2, f"NFE {nfe}", gid=f"column {nfe}"
        )
    axes = sheet.axes(0, 0, width, sheet.height - sheet.foot)
    top = sheet.height - sheet.foot - HEADER
    drawn = {}
    for method, step in zip(methods, pitch, strict=True):
        middle = top - step / 2
        sheet.text(MARGIN, middle, labels[method], color=INK, gid=f"label {method}")
        for i, nfe in enumerate(section.nfe):
            left = column + i * (breadth + GAP)
            if (method, nfe) in strips:
                extent = (left, left + breadth, middle - tall / 2, middle + tall / 2)
                image = axes.imshow(strips[method, nfe], interpolation="none", aspect="auto", extent=extent)
                drawn[method, nfe] = image
            else:
                sheet.text(left, middle, _absent(section.at(method, nfe)), color=GREY, gid=f"absent {method} {nfe}")
        top -= step
    axes.set(xlim=(0, width), ylim=(0, sheet.height - sheet.foot))
    axes.set_axis_off()
    return sheet.fig, drawn
