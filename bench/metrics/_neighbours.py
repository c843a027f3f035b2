"""Distances and nearest-neighbour balls in feature space, in float64.

A ball around a point reaches to its k-th nearest neighbour in the same set, which the point itself is not; its surface
belongs to it, as in the code of Kynkaanniemi et al. and torch-fidelity. Naeem et al.'s prdc leaves the surface out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.metrics._features import FeatureMetric, Rows, at_least, same_width

Array = NDArray[np.float64]
CHUNK = 1024
PAIRS = 2**21
"""Distances that are held at once."""
COINCIDE = 1e-13
"""Squared distances below this share of the squared norms are rounding: the points coincide."""


def squared_distances(x: Array, y: Array) -> Iterator[tuple[slice, Array]]:
    """Rows of x (n, d), in chunks, and their squared distances to y (m, d)."""
    centre = y.mean(0)
    x, y = x - centre, y - centre  # what the products of matrices cancel is smaller then
    of_y = (y**2).sum(1)
    size = max(16, min(CHUNK, PAIRS // max(1, len(y))))
    for start in range(0, len(x), size):
        rows = slice(start, min(start + size, len(x)))
        scale = (x[rows] ** 2).sum(1)[:, None] + of_y
        square = scale - 2 * x[rows] @ y.T
        yield rows, np.where(square < COINCIDE * scale, 0.0, square)


class Balls(Rows):
    """Features and, computed once for each k, their nearest neighbours."""

    @cached_property
    def _found(self) -> dict[int, tuple[NDArray[np.intp], Array]]:
        return {}

    def neighbours(self, k: int) -> tuple[NDArray[np.intp], Array]:
        """Indices (n, k) of the k nearest others, nearest first, and their squared distances."""
        if k not in self._found:
            parts = [self._nearest(rows, square, k) for rows, square in squared_distances(self.double, self.double)]
            self._found[k] = (np.concatenate([i for i, _ in parts]), np.concatenate([s for _, s in parts]))
        return self._found[k]

    @staticmethod
    def _nearest(rows: slice, square: Array, k: int) -> tuple[NDArray[np.intp], Array]:
        square[np.arange(len(square)), np.arange(rows.start, rows.stop)] = np.inf  # not its own neighbour
        some = np.argpartition(square, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(square, some, 1)
        order = values.argsort(1, kind="stable")
        return np.take_along_axis(some, order, 1), np.take_along_axis(values, order, 1)

    def radii(self, k: int) -> Array:
        """(n,): squared distance of each point to its k-th nearest other."""
        return np.asarray(self.neighbours(k)[1][:, k - 1])


class Neighbourhood(FeatureMetric[Balls]):
    """What precision, recall, density and coverage have in common.

    Attributes:
        k: the neighbour a ball reaches to.
    """

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    rows: ClassVar[type[Rows]] = Balls

    k: int = Field(default=5, ge=1)

    def pair(self, statistics: Balls, reference: Balls | None) -> Balls:
        """The reference, once both sets are known to be large enough."""
        other = same_width(statistics, reference)
        assert isinstance(other, Balls)
        at_least(self.k + 2, statistics, other)
        return other

    def counts(self, statistics: Balls, reference: Balls) -> Array:
        """(n,): in how many balls of the reference each sample lies."""
        radii = reference.radii(self.k)
        parts = squared_distances(statistics.double, reference.double)
        return np.concatenate([(square <= radii).sum(1, dtype=np.float64) for _, square in parts])
