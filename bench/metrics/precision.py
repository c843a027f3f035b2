"""Improved precision: the share of samples inside a nearest-neighbour ball of the reference.

Kynkaanniemi et al. 2019 (arXiv 1904.06991, Eq. 1). Given the reference, samples hit or miss independently.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bench.info import Info, Paper
from bench.metrics._intervals import wilson
from bench.metrics._neighbours import Balls, Neighbourhood
from bench.metrics.base import Estimate

INFO = Info(
    summary="Share of samples that lie in a k-nearest-neighbour ball of the reference: fidelity.",
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


class Precision(Neighbourhood):
    """``mean_i [x_i in a ball of the reference]``."""

    label: ClassVar[str] = "Precision ({features})"

    def value(self, statistics: Balls, reference: Balls | None) -> Estimate:
        inside = (self.counts(statistics, self.pair(statistics, reference)) > 0).astype(np.float64)
        value = float(inside.mean())
        low, high = wilson(int(inside.sum()), len(inside))
        return Estimate(value, low, high, "Wilson", influence=inside - value)
