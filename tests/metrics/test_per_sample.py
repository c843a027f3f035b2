"""Metrics that are means over samples: rmse and class accuracy."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binom, binomtest

from bench.batch import Batch
from bench.metrics._intervals import wilson
from bench.metrics.class_accuracy import ClassAccuracy
from bench.metrics.rmse import RMSE


def test_rmse_of_constant_differences() -> None:
    solution = torch.zeros(4, 1, 2, 2, dtype=torch.float64)
    raw = torch.tensor([1.0, 2.0, 3.0, 6.0]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    statistics = RMSE().statistics(Batch(raw.clamp(-1, 1), raw=raw, solution=solution))
    estimate = RMSE().value(statistics, None)
    assert estimate.value == 3
    half = 1.959964 * math.sqrt(14 / 3 / 4)  # squares about the mean: 4, 1, 0, 9
    assert (estimate.low, estimate.high) == pytest.approx((3 - half, 3 + half))
    assert estimate.influence == pytest.approx([-2, -1, 0, 3])


def test_rmse_is_the_root_of_the_mean_within_and_the_mean_across_samples() -> None:
    raw = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    estimate = RMSE().value(RMSE().statistics(Batch(raw, raw=raw, solution=torch.zeros(2, 2))), None)
    assert estimate.value == pytest.approx((math.sqrt(12.5) + math.sqrt(2)) / 2)


def test_rmse_keeps_double_precision() -> None:
    raw = torch.full((3, 2), 1 + 1e-12, dtype=torch.float64)
    statistics = RMSE().statistics(Batch(raw, raw=raw, solution=torch.ones(3, 2, dtype=torch.float64)))
    assert RMSE().value(statistics, None).value == pytest.approx(1e-12, rel=1e-3)


def test_rmse_needs_matching_solutions() -> None:
    with pytest.raises(ValueError, match="reference solution"):
        RMSE().statistics(Batch(torch.zeros(2, 2), raw=torch.zeros(2, 2)))
    with pytest.raises(ValueError, match=r"\(2, 2\), their solutions \(3, 2\)"):
        RMSE().statistics(Batch(torch.zeros(2, 2), raw=torch.zeros(2, 2), solution=torch.zeros(3, 2)))


def test_class_accuracy_counts_hits_and_batches_add() -> None:
    probs = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9], [0.8, 0.2]])
    label = torch.tensor([0, 0, 1, 1])
    metric = ClassAccuracy()
    parts = [metric.statistics(Batch(p, label=y, probs=p)) for p, y in zip(probs.split(3), label.split(3), strict=True)]
    estimate = metric.value(parts[0] + parts[1], None)
    assert estimate.value == 0.5
    assert (estimate.low, estimate.high) == pytest.approx(tuple(binomtest(2, 4).proportion_ci(method="wilson")))
    assert estimate.influence == pytest.approx([0.5, -0.5, 0.5, -0.5])


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (3, 7), (1990, 2000)])
def test_wilson_agrees_with_scipy(hits: int, n: int) -> None:
    assert wilson(hits, n) == pytest.approx(tuple(binomtest(hits, n).proportion_ci(method="wilson")), abs=1e-12)


def test_rmse_intervals_cover_the_expectation() -> None:
    rng, trials, hits = np.random.default_rng(0), 1000, 0
    for difference in torch.from_numpy(rng.exponential(size=(trials, 400, 1))):
        batch = Batch(difference, raw=difference, solution=torch.zeros(400, 1, dtype=torch.float64))
        estimate = RMSE().value(RMSE().statistics(batch), None)
        assert estimate.low is not None and estimate.high is not None
        hits += estimate.low <= 1 <= estimate.high
    assert binom.ppf(0.001, trials, 0.945) <= hits <= binom.ppf(0.999, trials, 0.95)


def test_missing_labels_are_said() -> None:
    with pytest.raises(ValueError, match="labels"):
        ClassAccuracy().statistics(Batch(torch.zeros(2, 2), probs=torch.ones(2, 2)))


@pytest.mark.parametrize("n", [1, 7, 100, 2000])
def test_wilson_holds_the_estimate_at_none_and_all(n: int) -> None:
    assert wilson(0, n)[0] == 0.0
    assert wilson(n, n)[1] == 1.0
