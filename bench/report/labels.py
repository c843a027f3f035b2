"""Places for labels where they cover neither each other nor the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import cos, hypot, pi, sin


@dataclass(frozen=True)
class Box:
    """A rectangle, in whatever unit."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """The area two boxes share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    def pushed_into(self, frame: Box) -> Box:
        """The same box, moved by as little as brings it into a frame that is large enough."""
        across = max(frame.left - self.left, 0.0) - max(self.right - frame.right, 0.0)
        up = max(frame.bottom - self.bottom, 0.0) - max(self.top - frame.top, 0.0)
        return Box(self.left + across, self.bottom + up, self.right + across, self.top + up)

    def inside(self, other: Box) -> bool:
        """Whether this box lies within another."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.bottom >= other.bottom
            and self.top <= other.top
        )


def spread(wanted: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Centres on a line, near where they are wanted, that do not overlap and stay within limits.

    Least squares under the order of the wanted places, by pooling adjacent violators; if they do not fit between the
    limits they are stacked from ``high`` down.

    Args:
        wanted: where each centre would like to be.
        heights: how much room each takes.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    starts, offset = [], 0.0  # what each would like the bottom of the whole stack to be
    for i in order:
        starts.append(wanted[i] - heights[i] / 2 - offset)
        offset += heights[i]
    room = max(high - low - offset, 0.0)
    result, below = [0.0] * len(wanted), 0.0
    for i, start in zip(order, _isotonic(starts), strict=True):
        base = min(max(start, low), low + room) if offset <= high - low else high - offset
        result[i] = base + below + heights[i] / 2
        below += heights[i]
    return result


def _isotonic(values: Iterable[float]) -> Iterator[float]:
    """The nondecreasing sequence nearest to the values in least squares."""
    blocks: list[tuple[float, int]] = []  # sum, count
    for value in values:
        total, count = value, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / count:
            before, number = blocks.pop()
            total, count = total + before, count + number
        blocks.append((total, count))
    for total, count in blocks:
        yield from [total / count] * count


def place(anchor: tuple[float, float], size: tuple[float, float], taken: Sequence[Box], frame: Box, unit: float) -> Box:
    """The nearest free place for a label around its point; where none is free, the one that covers least.

    Args:
        anchor: the point.
        size: width and height of the label.
        taken: what must not be covered.
        frame: where the label must stay.
        unit: the step in which distances grow.
    """
    best: Box | None = None
    least = float("inf")
    for candidate in _candidates(anchor, size, unit):
        box = candidate.pushed_into(frame)
        covered = sum(box.overlap(other) for other in taken)
        if covered == 0:
            return box
        if covered < least:
            best, least = box, covered
    assert best is not None
    return best


def _candidates(anchor: tuple[float, float], size: tuple[float, float], unit: float) -> Iterator[Box]:
    (x, y), (width, height) = anchor, size
    for ring in range(1, 26):
        for step in range(16):
            angle = pi / 8 * step + pi / 8
            across, up = cos(angle), sin(angle)
            # the label's border, not its centre, keeps the distance
            reach = ring * unit
            scale = 1 / max(hypot(across, up), 1e-9)
            left = x + reach * across * scale + width * (across - 1) / 2
            bottom = y + reach * up * scale + height * (up - 1) / 2
            yield Box(left, bottom, left + width, bottom + height)
