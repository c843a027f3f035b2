"""Density: in how many nearest-neighbour balls of the reference a sample lies, over k; robust to outliers there.

Naeem et al. 2020 (arXiv 2002.09797, Eq. 4). Near 1 for samples of the reference's own distribution, and may exceed 1.
"""

from __future__ import annotations

from typing import ClassVar

from bench.info import Info, Paper
from bench.metrics._intervals import around, standard_error
from bench.metrics._neighbours import Balls, Neighbourhood
from bench.metrics.base import Estimate

INFO = Info(
    summary="Mean number of k-nearest-neighbour balls of the reference around a sample, over k: fidelity.",
    papers=(
        Paper(
            title="Reliable Fidelity and Diversity Metrics for Generative Models",
            authors="Muhammad Ferjad Naeem and Seong Joon Oh and Youngjung Uh and Yunjey Choi and Jaejun Yoo",
            year=2020,
            arxiv="2002.09797",
            equation="Eq. 4",
            code="clovaai/generative-evaluation-prdc",
        ),
    ),
    requires=("features",),
)


class Density(Neighbourhood):
    """``mean_i #{balls of the reference around x_i} / k``."""

    label: ClassVar[str] = "Density ({features})"

    def value(self, statistics: Balls, reference: Balls | None) -> Estimate:
        share = self.counts(statistics, self.pair(statistics, reference)) / self.k
        value = float(share.mean())
        influence = share - value
        low, high = around(value, standard_error(influence), low=0.0)
        return Estimate(value, low, high, "normal, over samples", influence=influence)
