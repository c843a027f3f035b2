"""The coefficients against mpmath's quadrature and closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import mpmath
import pytest
import torch

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

NODES = [(0.0,), (0.0, -0.3), (0.0, -1.7, -2.0), (0.0, -0.01, -0.5, -3.0)]


def quadrature(nodes: Sequence[float], end: float, measure: Callable[[mpmath.mpf], mpmath.mpf]) -> list[float]:
    """``int_0^end L_j(u) measure(u) du`` with 30 digits."""
    with mpmath.workdps(30):

        def basis(j: int, u: mpmath.mpf) -> mpmath.mpf:
            others = [mpmath.mpf(node) for node in (*nodes[:j], *nodes[j + 1 :])]
            at = mpmath.mpf(nodes[j])
            return mpmath.fprod((u - node) / (at - node) for node in others)

        return [float(mpmath.quad(lambda u, j=j: basis(j, u) * measure(u), [0, end])) for j in range(len(nodes))]


@pytest.mark.parametrize("k", range(5))
@pytest.mark.parametrize("z", [0.0, 1e-12, -1e-4, 0.3, -0.99, 0.99, -1.01, 1.01, -6.0, 6.0, -40.0])
def test_phi_is_its_integral(k: int, z: float) -> None:
    with mpmath.workdps(40):
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
@pytest.mark.parametrize("h", [1e-6, 0.05, 0.9, 1.1, 9.0])
def test_weights_are_integrals_of_lagrange_polynomials(nodes: tuple[float, ...], h: float) -> None:
    def close(ours: list[float], theirs: list[float]) -> None:
        scale = max(map(abs, theirs))
        assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-13 * scale)

    close(data_weights(nodes, h), quadrature(nodes, h, lambda u: mpmath.exp(u - h)))
    close(data_weights((h, *nodes), h), quadrature((h, *nodes), h, lambda u: mpmath.exp(u - h)))
    close(noise_weights(nodes, h), quadrature(nodes, h, lambda u: mpmath.exp(-u)))
    close(polynomial_weights(nodes, h), quadrature(nodes, h, lambda u: mpmath.mpf(1)))


def test_weights_add_up_to_the_first_order_step() -> None:
    for nodes in NODES:
        assert sum(data_weights(nodes, 0.8)) == pytest.approx(-math.expm1(-0.8), rel=1e-13)
        assert sum(noise_weights(nodes, 0.8)) == pytest.approx(-math.expm1(-0.8), rel=1e-13)
        assert sum(polynomial_weights(nodes, -0.8)) == pytest.approx(-0.8, rel=1e-13)


@pytest.mark.parametrize("points", [1, 2, 5, 64])
def test_gauss_legendre_is_exact_for_polynomials(points: int) -> None:
    nodes, weights = gauss_legendre(points)
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
