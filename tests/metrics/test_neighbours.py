"""Precision, recall, density and coverage: scenarios, other implementations, brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import binom
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from bench.metrics._neighbours import Balls, Neighbourhood, squared_distances
from bench.metrics.base import Estimate
from bench.metrics.coverage import Coverage
from bench.metrics.density import Density
from bench.metrics.precision import Precision
from bench.metrics.recall import Recall

Array = NDArray[np.float64]
ALL = (Precision, Recall, Density, Coverage)


def measure(metric: Neighbourhood, x: Array, y: Array) -> Estimate:
    return metric.value(Balls(x), Balls(y))


def normal(n: int, d: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((n, d))


def plain(x: Array, y: Array, k: int) -> dict[type[Neighbourhood], float]:
    """The four by their definitions, from full distance matrices."""
    within_x = np.sort(cdist(x, x), axis=1)[:, k]
    within_y = np.sort(cdist(y, y), axis=1)[:, k]
    across = cdist(x, y)
    in_y, in_x = across <= within_y, across <= within_x[:, None]
    return {
        Precision: float(in_y.any(1).mean()),
        Recall: float(in_x.any(0).mean()),
        Density: float(in_y.sum(1).mean() / k),
        Coverage: float(in_y.any(0).mean()),
    }


@pytest.mark.parametrize("k", [3, 5])
def test_agrees_with_torch_fidelity(k: int) -> None:
    x, y = 0.7 * normal(300, 6, 0), normal(400, 6, 1)
    sets = [torch.from_numpy(z) for z in (x, y)]
    options = {"prc_neighborhood": k, "prc_batch_size": 1000, "save_cpu_ram": False, "verbose": False}
    expected = prc_features_to_metric(*sets, **options)
    assert measure(Precision(k=k), x, y).value == pytest.approx(expected[KEY_METRIC_PRECISION], abs=1e-6)
    assert measure(Recall(k=k), x, y).value == pytest.approx(expected[KEY_METRIC_RECALL], abs=1e-6)


@given(seed=st.integers(0, 10**6), n=st.integers(7, 40), m=st.integers(7, 40), d=st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_agrees_with_the_definitions(seed: int, n: int, m: int, d: int) -> None:
    x, y = 0.8 * normal(n, d, seed), normal(m, d, seed + 1)
    for metric, expected in plain(x, y, 5).items():
        assert measure(metric(), x, y).value == pytest.approx(expected, abs=1e-12)


def test_chunks_leave_no_trace() -> None:
    x, y = normal(1300, 3, 0), 1.1 * normal(1200, 3, 1)
    for metric, expected in plain(x, y, 5).items():
        assert measure(metric(), x, y).value == pytest.approx(expected, abs=1e-12)


def test_identical_sets() -> None:
    x = normal(200, 4, 2)
    for metric in (Precision, Recall, Coverage):
        assert measure(metric(), x, x).value == 1
    # each point lies in its own ball, and in that of everyone it is one of the five nearest of
    assert measure(Density(), x, x).value == pytest.approx(6 / 5)


def test_density_of_the_same_distribution_is_near_one() -> None:
    assert measure(Density(), normal(2000, 4, 3), normal(2000, 4, 4)).value == pytest.approx(1, abs=0.08)


def test_mode_collapse_lowers_recall_and_coverage_and_spares_precision() -> None:
    centres = np.array([[-10.0, 0], [10.0, 0]])
    y = np.concatenate([normal(150, 2, 5) + centres[0], normal(150, 2, 6) + centres[1]])
    one, both = normal(300, 2, 7) + centres[0], normal(300, 2, 8) + centres.repeat(150, 0)
    assert measure(Precision(), one, y).value > 0.9
    for metric in (Recall, Coverage):
        assert measure(metric(), one, y).value <= 0.5
        assert measure(metric(), both, y).value > 0.85


def test_an_outlier_in_the_reference_inflates_precision_and_not_density() -> None:
    y = np.concatenate([normal(200, 2, 9), [[60.0, 0.0]]])
    far = normal(100, 2, 10) + np.array([40.0, 0.0])  # inside the outlier's huge ball and nowhere near the rest
    assert measure(Precision(), far, y).value == 1
    assert measure(Density(), far, y).value == pytest.approx(0.2)
    assert measure(Coverage(), far, y).value == pytest.approx(1 / 201)


def test_an_outlier_among_the_samples_inflates_recall_and_not_coverage() -> None:
    y = normal(200, 2, 11) + np.array([40.0, 0.0])
    x = np.concatenate([normal(200, 2, 12), [[60.0, 0.0]]])
    assert measure(Recall(), x, y).value == 1
    assert measure(Coverage(), x, y).value == 0


def test_rounding_is_not_a_distance() -> None:
    x = normal(300, 8, 13) + 10
    for rows, square in squared_distances(x, np.repeat(x, 2, 0)):
        expected = np.arange(600)[None, :] // 2 == np.arange(rows.start, rows.stop)[:, None]
        assert np.array_equal(square == 0, expected)


def test_coinciding_points_are_at_distance_zero() -> None:
    # a collapsed model far from the origin: rounding must not decide what is inside
    y = normal(60, 8, 13) + 1000
    collapsed = np.repeat(y[:7], 20, axis=0)
    assert measure(Precision(), collapsed, y).value == 1
    assert measure(Recall(), collapsed, y).value == pytest.approx(7 / 60)


@pytest.mark.parametrize("metric", [Recall, Coverage])
@pytest.mark.parametrize("d", [1, 3])
def test_influence_is_the_exact_jackknife(metric: type[Neighbourhood], d: int) -> None:
    x, y = normal(60, d, 14) * 0.6, normal(90, d, 15)
    estimate = measure(metric(k=3), x, y)
    assert estimate.influence is not None
    without = np.array([plain(np.delete(x, i, 0), y, 3)[metric] for i in range(60)])
    assert estimate.influence == pytest.approx(59 * (without.mean() - without), abs=1e-9)
    assert without.std() > 0


@pytest.mark.parametrize("metric", ALL)
def test_intervals_cover_the_expectation_for_this_reference(metric: type[Neighbourhood]) -> None:
    rng, trials = np.random.default_rng(16), 200
    reference = Balls(rng.standard_normal((150, 3)))
    found = [metric().value(Balls(0.8 * rng.standard_normal((200, 3))), reference) for _ in range(trials)]
    expected = np.mean([e.value for e in found])
    hits = sum(e.low <= expected <= e.high for e in found if e.low is not None and e.high is not None)
    assert binom.ppf(0.001, trials, 0.95) <= hits


@pytest.mark.parametrize("metric", ALL)
def test_too_few_samples_are_refused(metric: type[Neighbourhood]) -> None:
    with pytest.raises(ValueError, match="at least 7 samples, not 6"):
        measure(metric(), normal(6, 2, 0), normal(20, 2, 1))
