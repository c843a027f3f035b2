"""Coverage: the share of the reference whose nearest-neighbour ball holds a sample.

Naeem et al. 2020 (arXiv 2002.09797, Eq. 5). Without sample j only the balls that hold no other sample are lost, so the
jackknife over samples is exact and needs no second pass.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bench.info import Info, Paper
from bench.metrics._intervals import around, standard_error
from bench.metrics._neighbours import Balls, Neighbourhood, squared_distances
from bench.metrics.base import Estimate

INFO = Info(
    summary="Share of the reference whose k-nearest-neighbour ball holds a sample: diversity.",
    papers=(
        Paper(
            title="Reliable Fidelity and Diversity Metrics for Generative Models",
            authors="Muhammad Ferjad Naeem and Seong Joon Oh and Youngjung Uh and Yunjey Choi and Jaejun Yoo",
            year=2020,
            arxiv="2002.09797",
            equation="Eq. 5",
            code="clovaai/generative-evaluation-prdc",
        ),
    ),
    requires=("features",),
)


class Coverage(Neighbourhood):
    """``mean_j [a sample lies in the ball of y_j]``."""

    label: ClassVar[str] = "Coverage ({features})"

    def value(self, statistics: Balls, reference: Balls | None) -> Estimate:
        other = self.pair(statistics, reference)
        radii = other.radii(self.k)
        n, m = len(statistics), len(other)
        covered, lost = 0, np.zeros(n)
        for rows, square in squared_distances(other.double, statistics.double):
            inside = square <= radii[rows, None]
            held = inside.sum(1)
            covered += int(np.count_nonzero(held))
            lost += np.bincount(inside[held == 1].argmax(1), minlength=n) if (held == 1).any() else 0
        value = covered / m
        influence = (n - 1) * (lost - lost.mean()) / m
        low, high = around(value, standard_error(influence), 0.0, 1.0)
        return Estimate(value, low, high, "jackknife over samples", influence=influence)
