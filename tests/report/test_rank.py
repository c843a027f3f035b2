from __future__ import annotations

import numpy as np
import pytest

from bench.report.rank import Score, paired, ranks, significant


def score(value: float, influence: object = None, error: float | None = None, seed: int = 0) -> Score:
    given = {} if influence is None else {seed: np.asarray(influence, dtype=np.float64)}
    return Score(value, {seed: value}, given, error)


def test_paired_error_is_that_of_the_difference() -> None:
    # IF_a - IF_b = (1, -1, 1, -1): variance with ddof 1 is 4/3, so SE = sqrt(4/3/4) = 1/sqrt(3)
    a, b = score(5.0, [2, 0, 2, 0]), score(4.0, [1, 1, 1, 1])
    assert paired(a, b) == pytest.approx((1.0, 3**-0.5))
    assert not significant(a, b)  # 1 < 1.96 / sqrt(3) = 1.13
    assert significant(score(5.14, [2, 0, 2, 0]), b)


def test_common_noise_makes_small_differences_significant() -> None:
    noise = np.random.default_rng(0).normal(size=1000) * 10
    a, b = score(5.0, noise), score(5.1, noise + np.tile([0.1, -0.1], 500))
    assert significant(a, b)  # paired: SE = 0.1 / sqrt(1000)
    assert not significant(score(5.0, error=0.3), score(5.1, error=0.3))  # from the intervals alone


def test_several_seeds_average_and_their_errors_shrink() -> None:
    a = Score(1.5, {0: 1.0, 1: 2.0}, {0: np.array([2.0, 0, 2, 0]), 1: np.array([2.0, 0, 2, 0])})
    b = Score(0.5, {0: 0.5, 1: 0.5}, {0: np.ones(4), 1: np.ones(4)})
    assert paired(a, b) == pytest.approx((1.0, (2 / 3) ** 0.5 / 2))


def test_only_common_seeds_are_paired() -> None:
    a, b = score(1.0, [1, -1], seed=0), score(2.0, [1, -1], seed=1)
    assert paired(a, b) is None


def test_ties_share_a_rank_and_the_next_counts_all_above() -> None:
    scores = [score(3.0, error=0.1), score(1.0, error=0.1), score(1.1, error=0.1), score(9.0, error=0.1)]
    assert ranks(scores, "lower") == [3, 1, 1, 4]
    assert ranks(scores, "higher") == [2, 3, 3, 1]


def test_a_chain_of_neighbours_is_not_one_rank() -> None:
    # each is within 1.96 * sqrt(2) * 0.1 = 0.277 of the next, but the third is not of the first
    scores = [score(1.0, error=0.1), score(1.2, error=0.1), score(1.4, error=0.1)]
    assert ranks(scores, "lower") == [1, 1, 3]


def test_without_intervals_only_equal_values_tie() -> None:
    assert ranks([score(1.0), score(1.0), score(1.0 + 1e-12)], "lower") == [1, 1, 3]


def test_false_distinctions_come_at_the_stated_rate() -> None:
    # two methods that differ by noise alone: 5 % of the comparisons are significant
    source = np.random.default_rng(1)
    n, trials, found = 400, 2000, 0
    for _ in range(trials):
        a, b = source.normal(size=n), source.normal(size=n)
        one = Score(a.mean(), {0: a.mean()}, {0: a - a.mean()})
        two = Score(b.mean(), {0: b.mean()}, {0: b - b.mean()})
        found += significant(one, two)
    assert found / trials == pytest.approx(0.05, abs=0.015)  # 3 standard errors
