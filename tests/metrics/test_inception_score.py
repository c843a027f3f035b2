"""The inception score against torch-fidelity and its two limits."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import binom
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

from bench.batch import Batch
from bench.metrics._features import Rows
from bench.metrics.base import Estimate
from bench.metrics.inception_score import InceptionScore


def score(p: NDArray[np.float64]) -> Estimate:
    return InceptionScore().value(Rows(p), None)


def test_agrees_with_torch_fidelity_in_one_split() -> None:
    logits = 3 * torch.randn(500, 10, generator=torch.Generator().manual_seed(0))
    expected = isc_features_to_metric(logits, splits=1)[KEY_METRIC_ISC_MEAN]
    batch = Batch(logits, probs=logits.softmax(1))
    assert InceptionScore().value(InceptionScore().statistics(batch), None).value == pytest.approx(expected, rel=1e-6)


def test_certain_and_balanced_is_the_number_of_classes_and_collapse_is_one() -> None:
    assert score(np.tile(np.eye(7), (3, 1))).value == pytest.approx(7)
    assert score(np.tile(np.eye(7)[2], (9, 1))).value == pytest.approx(1)
    assert score(np.full((9, 4), 0.25)).value == pytest.approx(1)


def test_scores_the_samples_and_not_the_reference() -> None:
    sharp, flat = Rows(np.tile(np.eye(4), (5, 1))), Rows(np.full((20, 4), 0.25))
    assert InceptionScore().value(sharp, flat).value == pytest.approx(4)
    assert InceptionScore().value(flat, sharp).value == pytest.approx(1)


def test_two_kinds_of_rows_in_closed_form() -> None:
    # rows (1, 0) and (1/2, 1/2) in equal numbers: log IS = (log(4/3) + log(2/3)/2 + log(2)/2) / 2
    rows = np.tile([[1.0, 0.0], [0.5, 0.5]], (10, 1))
    assert np.log(score(rows).value) == pytest.approx((np.log(4 / 3) + np.log(2 / 3) / 2 + np.log(2) / 2) / 2)


def test_intervals_cover_the_expectation() -> None:
    rng, trials = np.random.default_rng(0), 400
    found = [score(rng.dirichlet(np.full(5, 0.3), size=400)) for _ in range(trials)]
    expected = np.mean([e.value for e in found])
    hits = sum(e.low <= expected <= e.high for e in found if e.low is not None and e.high is not None)
    assert binom.ppf(0.001, trials, 0.95) <= hits <= binom.ppf(0.999, trials, 0.95)


def test_influence_is_the_effect_of_leaving_a_sample_out() -> None:
    p = np.random.default_rng(1).dirichlet(np.full(4, 0.5), size=2000)
    estimate = score(p)
    assert estimate.influence is not None
    left_out = [1999 * (estimate.value - score(np.delete(p, i, 0)).value) for i in range(20)]
    assert left_out == pytest.approx(estimate.influence[:20], abs=0.01)


def test_missing_probabilities_are_said() -> None:
    with pytest.raises(ValueError, match="needs class probabilities"):
        InceptionScore().statistics(Batch(torch.zeros(3, 2)))
