r"""Kernel distance: the squared maximum mean discrepancy with a cubic polynomial kernel, without bias.

``k(x, y) = (x.y / d + 1)^3`` (Binkowski et al. 2018, arXiv 1801.01401, Sec. 4), over all pairs, not random subsets::

    KID = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{ij} k(x_i, y_j)

A U-statistic in x, whose influence is its Hoeffding projection ``2 [mean_{j != i} k(x_i, x_j) - mean_j k(x_i, y_j)]``,
centred. The value may be below 0; its expectation may not, with both sets drawn afresh.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal

from bench.info import Info, Paper
from bench.metrics._features import FeatureMetric, Rows, at_least, same_width
from bench.metrics._intervals import around, standard_error
from bench.metrics._kernels import cubic, row_means, row_means_of_others
from bench.metrics.base import Estimate

INFO = Info(
    summary="Unbiased squared maximum mean discrepancy of features with a cubic polynomial kernel.",
    papers=(
        Paper(
            title="Demystifying MMD GANs",
            authors="Mikolaj Binkowski and Danica J. Sutherland and Michael Arbel and Arthur Gretton",
            year=2018,
            arxiv="1801.01401",
            equation="Sec. 4",
        ),
    ),
    requires=("features",),
)


class KernelRows(Rows):
    """Features and, for the reference, the mean of their own kernel, computed once."""

    @cached_property
    def own_mean(self) -> float:
        """``mean_{i != j} k(x_i, x_j)``."""
        return float(row_means_of_others(cubic, self).mean())


class KID(FeatureMetric[KernelRows]):
    """The unbiased estimate over all pairs; intervals hold its expectation for this reference."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    label: ClassVar[str] = "KID ({features})"
    rows: ClassVar[type[Rows]] = KernelRows

    def value(self, statistics: KernelRows, reference: KernelRows | None) -> Estimate:
        other = same_width(statistics, reference)
        assert isinstance(other, KernelRows)
        at_least(2, statistics, other)
        within = row_means_of_others(cubic, statistics)
        across = row_means(cubic, statistics, other)
        value = float(within.mean() + other.own_mean - 2 * across.mean())
        influence = 2 * (within - across)
        influence -= influence.mean()
        low, high = around(value, standard_error(influence))
        return Estimate(value, low, high, "Hoeffding projection", influence=influence)
