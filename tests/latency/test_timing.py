from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from bench.latency.timing import Budget, median_interval, quantile, settled, steady, supported, warm_up

DURATIONS = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60)


@given(DURATIONS, st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_quantile_is_numpys(durations: list[float], q: float) -> None:
    assert quantile(durations, q) == pytest.approx(float(np.quantile(durations, q)), rel=1e-12)


@pytest.mark.parametrize(("q", "runs"), [(0.9, 29), (0.99, 299)])
def test_a_quantile_needs_wilks_number_of_runs(q: float, runs: int) -> None:
    # Wilks 1941: 29 for a one-sided 90/95 limit, 299 for 99/95
    assert supported(q, runs)
    assert not supported(q, runs - 1)


@pytest.mark.parametrize("n", [6, 7, 10, 50, 333])
def test_median_interval_is_the_narrowest_that_covers(n: int) -> None:
    interval = median_interval([float(i) for i in range(n)])
    assert interval is not None
    low, high = (int(value) for value in interval)
    assert low + high == n - 1
    # coverage of [x_(low), x_(high)] (from 0) is 1 - 2 P(Bin(n, 1/2) <= low)
    assert 1 - 2 * binom.cdf(low, n, 0.5) >= 0.95
    assert 1 - 2 * binom.cdf(low + 1, n, 0.5) < 0.95


@pytest.mark.parametrize("n", [1, 2, 5])
def test_no_median_interval_below_six_runs(n: int) -> None:
    assert median_interval([1.0] * n) is None


def test_warm_up_follows_a_decay_down_to_its_tolerance() -> None:
    # d_i = 1 + 4 exp(-i/5), in ms: medians of windows of 3 centred at i-1 and i-4 agree within 5 % from
    # 4 (exp(-(i-4)/5) - exp(-(i-1)/5)) <= 0.05 (1 + 4 exp(-(i-1)/5)) on
    series = [1e-3 * (1 + 4 * math.exp(-i / 5)) for i in range(1000)]

    def agrees(i: int) -> bool:
        early, late = 4 * math.exp(-(i - 4) / 5), 4 * math.exp(-(i - 1) / 5)
        return i >= 5 and early - late <= 0.05 * (1 + late)

    first = next(i for i in range(1000) if agrees(i))
    source = iter(series)
    calls, is_settled = warm_up(lambda: next(source), Budget(warm_up_seconds=10))
    assert is_settled
    assert calls == first + 1
    assert series[calls] < 1.25e-3  # and not in the steep part


def test_warm_up_gives_up_on_a_drift() -> None:
    source = (1e-3 * 1.1**i for i in range(1000))
    durations: list[float] = []

    def call() -> float:
        durations.append(next(source))
        return durations[-1]

    calls, is_settled = warm_up(call, Budget(warm_up_seconds=0.2))
    assert not is_settled
    assert calls == len(durations)
    assert 0.2 <= sum(durations) < 0.2 + durations[-1]


def test_settled_looks_at_both_directions() -> None:
    assert not settled([1.0, 1.0, 1.0, 2.0, 2.0, 2.0], 3, 0.05)
    assert not settled([2.0, 2.0, 2.0, 1.0, 1.0, 1.0], 3, 0.05)
    assert settled([1.0, 9.0, 1.0, 1.04, 0.1, 1.04], 3, 0.05)  # single outliers do not count


@pytest.mark.parametrize(("duration", "runs"), [(100.0, 1), (0.7, 2), (0.1, 6), (0.01, 30), (1e-6, 2000)])
def test_steady_runs_last_the_budget_within_limits(duration: float, runs: int) -> None:
    # 0.3 s, at least 6 runs but no more than 1.2 s for them, at most 2000 runs
    assert len(steady(lambda: duration, Budget())) == pytest.approx(runs, abs=1 if runs == 30 else 0)
