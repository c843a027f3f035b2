"""The arithmetic of latency protocol v1: when to stop, and which quantiles the runs support.

Quantiles are Hyndman and Fan's definition 7 (The American Statistician 50, 1996): linear between order statistics, as
numpy's default. A quantile q is stated only if, with 95 % probability, at least one run lies above the true one:
``1 - q^n >= 0.95`` (Wilks, Ann. Math. Statist. 12, 1941), so p90 needs 29 runs and p99 needs 299. The interval of the
median is the distribution-free one between two order statistics, at least 95 % for independent runs; it needs 6.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Budget:
    """How long one batch size may be timed.

    Attributes:
        window: k; warmed up when the medians of the last k and of the k calls before them agree.
        tolerance: how closely, relative.
        warm_up_seconds: when to stop warming up in any case.
        seconds, min_runs, max_runs: steady runs last this long, but are not fewer or more than this.
        patience: after so many times ``seconds`` even ``min_runs`` is given up, so that slow cells end.
        share_runs: further runs for the denoiser's share, apart because their timers disturb.
    """

    window: int = 3
    tolerance: float = 0.05
    warm_up_seconds: float = 0.15
    seconds: float = 0.3
    min_runs: int = 6
    max_runs: int = 2000
    patience: float = 4.0
    share_runs: int = 3


def quantile(durations: Sequence[float], q: float) -> float:
    """The q-quantile, definition 7 of Hyndman and Fan 1996."""
    ordered = sorted(durations)
    position = q * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def supported(q: float, runs: int) -> bool:
    """Whether this many runs are enough to state the q-quantile."""
    return 1 - q**runs >= CONFIDENCE


def median_interval(durations: Sequence[float]) -> tuple[float, float] | None:
    """The narrowest pair of order statistics, symmetric in rank, that covers the median at 95 %; None below 6 runs."""
    ordered, n = sorted(durations), len(durations)
    tail, rank = 0.0, -1  # P(Binomial(n, 1/2) <= rank)
    while True:
        weight = math.exp(math.lgamma(n + 1) - math.lgamma(rank + 2) - math.lgamma(n - rank) - n * math.log(2))
        if 2 * (tail + weight) > 1 - CONFIDENCE:
            break
        tail, rank = tail + weight, rank + 1
    return None if rank < 0 else (ordered[rank], ordered[n - 1 - rank])


def settled(durations: Sequence[float], window: int, tolerance: float) -> bool:
    """Whether the medians of the last and of the last but one ``window`` calls differ by at most ``tolerance``."""
    if len(durations) < 2 * window:
        return False
    last, before = median(durations[-window:]), median(durations[-2 * window : -window])
    return abs(last - before) <= tolerance * last


def warm_up(call: Callable[[], float], budget: Budget) -> tuple[int, bool]:
    """Call until settled or out of time; how many calls, and whether they settled.

    Args:
        call: runs once and returns its duration in seconds.
    """
    durations: list[float] = []
    while sum(durations) < budget.warm_up_seconds:
        durations.append(call())
        if settled(durations, budget.window, budget.tolerance):
            return len(durations), True
    return len(durations), False


def steady(call: Callable[[], float], budget: Budget) -> list[float]:
    """Durations of the runs that count, in seconds."""
    durations = [call()]
    total = durations[0]
    while len(durations) < budget.max_runs:
        wanted = budget.seconds if len(durations) >= budget.min_runs else budget.patience * budget.seconds
        if total >= wanted:
            break
        durations.append(call())
        total += durations[-1]
    return durations
