"""Sliced Wasserstein distance: closed forms, scipy's assignment, coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.stats import binom

from bench.metrics._features import Rows
from bench.metrics.base import Estimate
from bench.metrics.sliced_wasserstein import SlicedWasserstein, directions, potential, squared_distance

Array = NDArray[np.float64]


def distance(x: Array, y: Array, projections: int = 128) -> Estimate:
    return SlicedWasserstein(projections=projections).value(Rows(x), Rows(y))


@given(n=st.integers(1, 6), m=st.integers(1, 6), seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_one_dimension_is_optimal_transport(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = np.sort(rng.standard_normal((n, 1)), 0), np.sort(rng.standard_normal((m, 1)), 0)
    rows = np.kron(np.eye(n), np.ones(m))
    columns = np.kron(np.ones(n), np.eye(m))
    mass = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    plan = linprog(((x - y.T) ** 2).ravel(), A_eq=np.vstack([rows, columns]), b_eq=mass)
    assert squared_distance(x, y)[0] == pytest.approx(plan.fun, abs=1e-9)


def test_a_shift_is_measured_along_each_direction() -> None:
    x = np.random.default_rng(0).standard_normal((300, 5))
    shift = np.array([1.0, -0.5, 2.0, 0.0, 0.3])
    expected = np.sqrt(((shift @ directions(5, 128)) ** 2).mean())
    assert distance(x + shift, x).value == pytest.approx(expected, rel=1e-10)


def test_directions_are_spread_over_the_sphere() -> None:
    lines = directions(3, 20_000)
    assert (lines**2).sum(0) == pytest.approx(np.ones(20_000))
    assert lines @ lines.T / 20_000 == pytest.approx(np.eye(3) / 3, abs=0.01)


def test_gaussians_in_closed_form() -> None:
    # W_2^2 of N(0, s^2) and N(0, r^2) is (s - r)^2 along every direction
    rng = np.random.default_rng(1)
    x, y = 1.5 * rng.standard_normal((40_000, 2)), rng.standard_normal((40_000, 2))
    assert distance(x, y, 16).value == pytest.approx(0.5, abs=0.015)


def test_identical_sets_are_at_zero_and_repeating_one_changes_nothing() -> None:
    x, y = np.random.default_rng(2).standard_normal((2, 50, 3))
    assert distance(x, x).value == 0
    assert distance(np.repeat(x, 3, 0), x).value == pytest.approx(0, abs=1e-12)
    assert distance(np.repeat(x, 3, 0), y).value == pytest.approx(distance(x, y).value)


@given(seed=st.integers(0, 10**6), n=st.integers(2, 30), m=st.integers(2, 30))
@settings(max_examples=25, deadline=None)
def test_symmetry_order_translation_scale(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, 3)), rng.standard_normal((m, 3))
    value = distance(x, y).value
    assert distance(y, x).value == pytest.approx(value)
    assert distance(rng.permutation(x), rng.permutation(y)).value == pytest.approx(value)
    assert distance(x + 7, y + 7).value == pytest.approx(value)
    assert distance(3 * x, 3 * y).value == pytest.approx(3 * value)


def test_the_potential_is_the_derivative_in_the_weights() -> None:
    # dW^2 when mass moves between samples, by the dual of the linear programme
    rng = np.random.default_rng(3)
    x, y = np.sort(rng.standard_normal((5, 1)), 0), np.sort(rng.standard_normal((7, 1)) + 0.5, 0)
    rows, columns = np.kron(np.eye(5), np.ones(7)), np.kron(np.ones(5), np.eye(7))

    def cost(weights: Array) -> float:
        mass = np.concatenate([weights, np.full(7, 1 / 7)])
        return float(linprog(((x - y.T) ** 2).ravel(), A_eq=np.vstack([rows, columns]), b_eq=mass).fun)

    phi = potential(x, y)[:, 0]
    for i in range(4):
        step = np.zeros(5)
        step[i], step[i + 1] = -1e-4, 1e-4
        slope = (cost(0.2 + step) - cost(0.2 - step)) / 2e-4
        assert slope == pytest.approx(phi[i + 1] - phi[i], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("shift", [0.5, 0.0])
def test_intervals_cover_the_expectation_for_this_reference(shift: float) -> None:
    rng, trials = np.random.default_rng(4), 300
    reference = rng.standard_normal((500, 4))
    found = [distance(1.2 * rng.standard_normal((300, 4)) + shift, reference, 16) for _ in range(trials)]
    expected = np.sqrt(np.mean([e.value**2 for e in found]))
    hits = sum(e.low <= expected <= e.high for e in found if e.low is not None and e.high is not None)
    assert binom.ppf(0.001, trials, 0.95) <= hits


def test_influence_belongs_to_its_sample() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((400, 3)) + 0.5, rng.standard_normal((300, 3))
    estimate = distance(x, y, 8)
    assert estimate.influence is not None
    left_out = [399 * (estimate.value - distance(np.delete(x, i, 0), y, 8).value) for i in range(15)]
    assert np.corrcoef(left_out, estimate.influence[:15])[0, 1] > 0.999
