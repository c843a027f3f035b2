"""Improved recall: the share of the reference inside a nearest-neighbour ball of the samples.

Kynkaanniemi et al. 2019 (arXiv 1904.06991, Eq. 1). Its interval is the exact jackknife over samples: without sample j,
points that only its ball holds are lost, and the balls that reached to j as one of their k nearest grow to the next
neighbour and may win some. By the inequality of Efron and Stein (1981) the jackknife variance is too large on average,
not too small.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.info import Info, Paper
from bench.metrics._intervals import around, standard_error
from bench.metrics._neighbours import Balls, Neighbourhood, squared_distances
from bench.metrics.base import Estimate

INFO = Info(
    summary="Share of the reference that lies in a k-nearest-neighbour ball of the samples: diversity.",
    papers=(
        Paper(
            title="Improved Precision and Recall Metric for Assessing Generative Models",
            authors="Tuomas Kynkaanniemi and Tero Karras and Samuli Laine and Jaakko Lehtinen and Timo Aila",
            year=2019,
            arxiv="1904.06991",
            equation="Eq. 1",
        ),
    ),
    requires=("features",),
)


Array = NDArray[np.float64]


def changes(square: Array, nearest: NDArray[np.intp], squares: Array) -> Array:
    """(n,): by how many points the count grows when sample j is left out.

    Args:
        square: (m, n) squared distances from reference points to samples.
        nearest: (n, k + 1) each sample's nearest others.
        squares: (n, k + 1) their squared distances.
    """
    n, k = len(nearest), nearest.shape[1] - 1
    inside = square <= squares[:, k - 1]
    held = inside.sum(1)
    change = np.zeros(n)
    only = inside.argmax(1)  # the one sample that holds a point, where it is one
    if (held == 1).any():
        change -= np.bincount(only[held == 1], minlength=n)
    point, sample = np.nonzero((square <= squares[:, k]) & ~inside & (held <= 1)[:, None])
    # leaving out any of the k nearest of `sample` makes its ball reach `point`
    left_out = nearest[sample, :k].ravel()
    point = point.repeat(k)
    wins = (held[point] == 0) | (only[point] == left_out)
    pairs = np.unique(point[wins] * n + left_out[wins])  # two balls may win the same point
    return np.asarray(change + np.bincount(pairs % n, minlength=n))


class Recall(Neighbourhood):
    """``mean_j [y_j in a ball of the samples]``."""

    label: ClassVar[str] = "Recall ({features})"

    def value(self, statistics: Balls, reference: Balls | None) -> Estimate:
        other = self.pair(statistics, reference)
        nearest, squares = statistics.neighbours(self.k + 1)
        radii = squares[:, self.k - 1]
        n, m = len(statistics), len(other)
        covered, change = 0, np.zeros(n)
        for _, square in squared_distances(other.double, statistics.double):
            covered += int(np.count_nonzero((square <= radii).any(1)))
            change += changes(square, nearest, squares)
        value = covered / m
        influence = -(n - 1) * (change - change.mean()) / m
        low, high = around(value, standard_error(influence), 0.0, 1.0)
        return Estimate(value, low, high, "jackknife over samples", influence=influence)
