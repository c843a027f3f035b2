"""The coefficients against mpmath's quadrature in 50 digits, and closed forms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.coefficients import (
    combine,
    data_weights,
    gauss_legendre,
    moment_weights,
    noise_weights,
    phi,
    polynomial_weights,
    step_order,
    step_size,
)

DIGITS = 50
# the last ones are strongly uneven: neighbouring steps differ by factors of 100 and more
NODES = [(0.0,), (0.0, -0.3), (0.0, -1.7, -2.0), (0.0, -0.01, -0.5, -3.0), (0.0, -1e-4, -2.0), (0.0, -4.0, -4.001)]


def quadrature(nodes: Sequence[float], end: float, measure: Callable[[mpmath.mpf], mpmath.mpf]) -> list[float]:
    """``int_0^end L_j(u) measure(u) du``; the range is cut where an exponential has come down."""
    with mpmath.workdps(DIGITS):
        cuts = [0, *(cut for cut in (1, 5, 20) if cut < end), mpmath.inf if end == math.inf else mpmath.mpf(end)]

        def basis(j: int, u: mpmath.mpf) -> mpmath.mpf:
            others = [mpmath.mpf(node) for node in (*nodes[:j], *nodes[j + 1 :])]
            at = mpmath.mpf(nodes[j])
            return mpmath.fprod((u - node) / (at - node) for node in others)

        return [float(mpmath.quad(lambda u, j=j: basis(j, u) * measure(u), cuts)) for j in range(len(nodes))]


def assert_close(ours: Sequence[float], theirs: Sequence[float]) -> None:
    """To 1e-12 of each weight, or to 1e-13 of the largest where they cancel."""
    assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-13 * max(map(abs, theirs)))


@pytest.mark.parametrize("k", range(5))
@pytest.mark.parametrize(
    "z",
    [0.0, 1e-300, 1e-12, -1e-6, -1e-4, 0.3, -0.99, 0.99, -1.0, 1.0, -1.01, 1.01, -6.0, 6.0, -20.0, 20.0, -50.0, 300.0],
)
def test_phi_is_its_integral(k: int, z: float) -> None:
    with mpmath.workdps(DIGITS):
        integrand = lambda u: mpmath.exp((1 - u) * mpmath.mpf(z)) * u ** (k - 1) / mpmath.factorial(k - 1)  # noqa: E731
        expected = mpmath.exp(z) if k == 0 else mpmath.quad(integrand, [0, 1])
    assert phi(k, z) == pytest.approx(float(expected), rel=2e-14)


@pytest.mark.parametrize("k", range(4))
def test_infinite_steps_are_limits(k: int) -> None:
    assert phi(k, -math.inf) == 0
    weights = noise_weights(NODES[3][: k + 1], math.inf)
    assert weights == pytest.approx(noise_weights(NODES[3][: k + 1], 60.0), rel=1e-12)
    assert step_size(3.0, 0.0) == math.inf
    assert step_size(3.0, 1.5) == pytest.approx(math.log(2), rel=1e-15)


@pytest.mark.parametrize("nodes", NODES)
@pytest.mark.parametrize("h", [1e-6, 0.05, 0.9, 1.0, 1.1, 9.0, 20.0])
def test_weights_are_integrals_of_lagrange_polynomials(nodes: tuple[float, ...], h: float) -> None:
    assert_close(data_weights(nodes, h), quadrature(nodes, h, lambda u: mpmath.exp(u - mpmath.mpf(h))))
    corrected = (h, *nodes)
    assert_close(data_weights(corrected, h), quadrature(corrected, h, lambda u: mpmath.exp(u - mpmath.mpf(h))))
    assert_close(noise_weights(nodes, h), quadrature(nodes, h, lambda u: mpmath.exp(-u)))
    assert_close(polynomial_weights(nodes, h), quadrature(nodes, h, lambda u: mpmath.mpf(1)))


@pytest.mark.parametrize("nodes", NODES)
def test_weights_of_the_step_to_zero_are_integrals_to_infinity(nodes: tuple[float, ...]) -> None:
    assert_close(noise_weights(nodes, math.inf), quadrature(nodes, math.inf, lambda u: mpmath.exp(-u)))


@pytest.mark.parametrize("h", [1e-6, 1e-3, 0.3])
def test_short_steps_among_short_steps(h: float) -> None:
    """Nodes as close to each other as the step is short: their differences are all there is."""
    nodes = (0.0, -0.4 * h, -1.9 * h)
    assert_close(data_weights(nodes, h), quadrature(nodes, h, lambda u: mpmath.exp(u - mpmath.mpf(h))))
    assert_close(noise_weights(nodes, h), quadrature(nodes, h, lambda u: mpmath.exp(-u)))
    assert_close(polynomial_weights(nodes, -h), quadrature(nodes, -h, lambda u: mpmath.mpf(1)))


@given(
    st.lists(st.floats(-3, 1), min_size=0, max_size=3).map(lambda powers: [10**power for power in powers]),
    st.floats(-6, 1.3).map(lambda power: 10**power),
)
@settings(max_examples=12, deadline=None, derandomize=True)
def test_weights_for_any_spacing(gaps: list[float], h: float) -> None:
    """Gaps of 1e-3 to 10, steps of 1e-6 to 20; to 1e-12 of the largest weight."""
    nodes = tuple(itertools.accumulate([0.0, *(-gap for gap in gaps)]))
    for ours, measure in (
        (data_weights(nodes, h), lambda u: mpmath.exp(u - mpmath.mpf(h))),
        (noise_weights(nodes, h), lambda u: mpmath.exp(-u)),
        (polynomial_weights(nodes, h), lambda u: mpmath.mpf(1)),
    ):
        theirs = quadrature(nodes, h, measure)
        assert ours == pytest.approx(theirs, rel=0, abs=1e-12 * max(map(abs, theirs)))


@pytest.mark.parametrize(("sigma_s", "sigma_t"), [(80.0, 0.002), (1.0, 1.0 - 2**-40), (3e-4, 1e-4), (1e150, 1e-150)])
def test_step_size_is_a_difference_of_logarithms(sigma_s: float, sigma_t: float) -> None:
    with mpmath.workdps(DIGITS):
        exact = float(mpmath.log(mpmath.mpf(sigma_s)) - mpmath.log(mpmath.mpf(sigma_t)))
    # the ratio of two levels that are equal to twelve digits has only four of its difference left
    assert step_size(sigma_s, sigma_t) == pytest.approx(exact, rel=1e-3 if exact < 1e-9 else 1e-15)


def test_weights_add_up_to_the_first_order_step() -> None:
    for nodes in NODES:
        assert sum(data_weights(nodes, 0.8)) == pytest.approx(-math.expm1(-0.8), rel=1e-13)
        assert sum(noise_weights(nodes, 0.8)) == pytest.approx(-math.expm1(-0.8), rel=1e-13)
        assert sum(polynomial_weights(nodes, -0.8)) == pytest.approx(-0.8, rel=1e-13)


@pytest.mark.parametrize("points", [1, 2, 5, 64])
def test_gauss_legendre_is_exact_for_polynomials(points: int) -> None:
    nodes, weights = gauss_legendre(points)
    with mpmath.workdps(DIGITS):
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
            # on [-1, 1] the nodes are the roots of P_n and the weights 2 (1 - x^2) / (n P_{n-1}(x))^2
            at = 2 * mpmath.mpf(node) - 1
            lower = mpmath.legendre(points - 1, at)
            slope = points * (lower - at * mpmath.legendre(points, at)) / (1 - at**2)
            assert abs(mpmath.legendre(points, at) / slope) < 4e-15
            assert weight == pytest.approx(float((1 - at**2) / (points * lower) ** 2), rel=1e-11)
    for degree in range(2 * points):
        assert float((weights * nodes**degree).sum()) == pytest.approx(1 / (degree + 1), rel=1e-12)


def test_moments_of_a_point_are_interpolation() -> None:
    nodes, at = [0.0, -0.4, -1.0], 0.3
    values = [2 - 3 * u + 5 * u**2 for u in nodes]
    weights = moment_weights(nodes, [1.0, at, at**2])
    assert sum(w * v for w, v in zip(weights, values, strict=True)) == pytest.approx(2 - 3 * at + 5 * at**2)


@pytest.mark.parametrize(
    ("order", "intervals", "lower_final", "expected"),
    [
        (3, 1, 0, [1]),
        (3, 2, 0, [1, 2]),
        (3, 5, 0, [1, 2, 3, 3, 3]),
        (3, 5, 10, [1, 2, 3, 2, 1]),
        (3, 2, 15, [1, 1]),
        (2, 10, 10, [1] + [2] * 9),
        (2, 9, 10, [1] + [2] * 7 + [1]),
        (3, 20, "always", [1, 2] + [3] * 16 + [2, 1]),
    ],
)
def test_orders_ramp(order: int, intervals: int, lower_final: int, expected: list[int]) -> None:
    assert [step_order(order, i, intervals, lower_final) for i in range(intervals)] == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_combine_leaves_its_inputs(dtype: torch.dtype) -> None:
    x, a, b = (torch.full((2, 3), value, dtype=dtype) for value in (1.0, 2.0, 4.0))
    out = combine(x, 0.5, [0.25, -1.0], [a, b])
    assert out.dtype == dtype
    assert out.tolist() == [[-3.0] * 3] * 2
    assert (float(x[0, 0]), float(a[0, 0]), float(b[0, 0])) == (1.0, 2.0, 4.0)
