"""Ranks, and when two methods share one.

At each NFE methods are sorted by the ranking metric. Going down from the best, a method shares the rank of the best of
the group above it unless the difference between the two is significant: ``|a - b| > 1.96 SE``, two-sided 5 %, not
corrected for the number of comparisons. The comparison is always with the best of a group, never along a chain of
neighbours, so every method of a group is indistinguishable from the group's best. The next group's rank counts all
methods above it.

Methods start from the same noise, so where each sample's influence on the metric is known the comparison is paired:
``SE = std(IF_a - IF_b) / sqrt(n)``, over the seeds they share. Where it is not, SE comes from the two intervals as if
they were independent; without intervals, only equal values share a rank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True)
class Score:
    """What ranking needs of one method.

    Attributes:
        value: the mean over seeds.
        by_seed: value of each seed.
        influence: seed -> (n,) each sample's first-order contribution, mean 0.
        error: standard error from the interval; None without one.
    """

    value: float
    by_seed: Mapping[int, float] = field(default_factory=dict)
    influence: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    error: float | None = None


def paired(a: Score, b: Score) -> tuple[float, float] | None:
    """Difference a - b and its standard error over common noise; None where it cannot be had."""
    seeds = [seed for seed in a.influence if seed in b.influence and a.influence[seed].shape == b.influence[seed].shape]
    if not seeds:
        return None
    differences = [a.by_seed[seed] - b.by_seed[seed] for seed in seeds]
    variances = [
        float(np.var(a.influence[seed] - b.influence[seed], ddof=1)) / len(a.influence[seed]) for seed in seeds
    ]
    return sum(differences) / len(seeds), math.sqrt(sum(variances)) / len(seeds)


def significant(a: Score, b: Score) -> bool:
    """Whether two methods differ at the two-sided 5 % level."""
    common = paired(a, b)
    if common is not None:
        difference, error = common
    elif a.error is not None and b.error is not None:
        difference, error = a.value - b.value, math.hypot(a.error, b.error)
    else:
        difference, error = a.value - b.value, 0.0
    return abs(difference) > Z * error


def ranks(scores: Sequence[Score], better: str) -> list[int]:
    """Ranks from 1, in the order of the scores.

    Args:
        better: ``"lower"`` or ``"higher"``.
    """
    sign = 1 if better == "lower" else -1
    order = sorted(range(len(scores)), key=lambda i: sign * scores[i].value)
    result = [0] * len(scores)
    best = 0
    for place, i in enumerate(order):
        if place == 0 or significant(scores[i], scores[order[best]]):
            best = place
        result[i] = best + 1
    return result
