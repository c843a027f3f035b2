"""Shared weights of exponential integrators against quadrature in high precision, and the plans of single-step ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import mpmath
import pytest

from bench.exponential import interval_orders, multistep_weights, refusal, stages

mpmath.mp.dps = 30
LENGTHS = (1e-3, 0.3, 2.0, 9.0, -0.3, -2.0)


def integral(f: Callable[[mpmath.mpf], mpmath.mpf], h: float) -> float:
    """``int_0^h e^{t - h} f(t) dt``."""
    return float(mpmath.quad(lambda t: mpmath.exp(t - h) * f(t), mpmath.linspace(0, h, 5)))


def lagrange(nodes: Sequence[float], j: int) -> Callable[[mpmath.mpf], mpmath.mpf]:
    others = [node for i, node in enumerate(nodes) if i != j]
    return lambda t: mpmath.fprod((t - node) / (nodes[j] - node) for node in others)


def weights(nodes: Sequence[float], h: float) -> list[float]:
    return [integral(lagrange(nodes, j), h) for j in range(len(nodes))]


def close(found: Sequence[float], expected: Sequence[float]) -> None:
    assert len(found) == len(expected)
    scale = sum(map(abs, expected))
    assert found == pytest.approx(expected, rel=1e-11, abs=1e-11 * scale)


@pytest.mark.parametrize("h", LENGTHS)
def test_stages_of_order_1_and_2(h: float) -> None:
    for exact in (False, True):
        ((end, only),) = stages(1, h, exact)
        assert end == 1
        close(only, weights([0], h))
    for c in (0.5, 0.2, 1.0):
        (first, u), (end, result) = stages(2, h, True, c)
        assert (first, end) == (c, 1)
        close(u, weights([0], c * h))
        close(result, weights([0, c * h], h))
        _, (_, plain) = stages(2, h, False, c)
        p = integral(lambda t: mpmath.mpf(1), h)
        close(plain, [p * (1 - 1 / (2 * c)), p / (2 * c)])
    assert stages(2, h, True) == stages(2, h, True, 0.5)


@pytest.mark.parametrize("h", LENGTHS)
def test_stages_of_order_3(h: float) -> None:
    (low, first), (high, second), (end, parabola) = stages(3, h, True)
    assert (low, high, end) == (1 / 3, 2 / 3, 1)
    close(first, weights([0], h / 3))
    close(second, weights([0, h / 3], 2 * h / 3))
    close(parabola, weights([0, h / 3, 2 * h / 3], h))
    line = stages(3, h, False)
    assert line[:2] == stages(3, h, True)[:2]
    near, far = weights([0, 2 * h / 3], h)
    close(line[2][1], [near, 0, far])


@pytest.mark.parametrize("h", [1e-3, 0.3, 2.0, 9.0])
def test_multistep_weights(h: float) -> None:
    older = [0.4 * h, 1.3 * h]
    nodes = [0.0, -older[0], -older[0] - older[1]]
    for midpoint in (False, True):
        close(multistep_weights(h, [], midpoint, 1), weights(nodes[:1], h))
        close(multistep_weights(h, older, midpoint, 2), weights(nodes, h))
        assert sum(multistep_weights(h, older, midpoint, 1)) == pytest.approx(-math.expm1(-h))
    close(multistep_weights(h, older[:1], False, 1), weights(nodes[:2], h))
    p = weights([0], h)[0]
    close(multistep_weights(h, older[:1], True, 1), [p + p / 0.8, -p / 0.8])


@pytest.mark.parametrize("h", [0.3, 2.0])
def test_multistep_curvature(h: float) -> None:
    """Without the factor 2 the quadratic term, and it alone, is halved: D(t) = t^2 has D'' = 2, and D' right at 0."""
    older = [0.4 * h, 1.3 * h]
    values = [0.0, older[0] ** 2, (older[0] + older[1]) ** 2]
    full = integral(lambda t: t**2, h)
    for curvature in (1, 2):
        found = sum(w * v for w, v in zip(multistep_weights(h, older, True, curvature), values, strict=True))
        assert found == pytest.approx(full * curvature / 2, rel=1e-11)


def test_plans() -> None:
    assert [interval_orders(n, 3, "to_zero") for n in range(1, 9)] == [
        [1], [1, 1], [2, 1], [3, 1], [3, 1, 1], [3, 2, 1], [3, 3, 1], [3, 3, 1, 1],
    ]  # fmt: skip
    # the authors' lists of DPM-Solver
    assert [interval_orders(n, 3, "fast") for n in range(1, 9)] == [
        [1], [2], [2, 1], [3, 1], [3, 2], [3, 2, 1], [3, 3, 1], [3, 3, 2],
    ]  # fmt: skip
    assert [interval_orders(n, 3, "full") for n in range(1, 8)] == [
        [1], [2], [3], [3, 1], [3, 2], [3, 3], [3, 3, 1],
    ]  # fmt: skip
    for plan in ("fast", "full"):
        assert [interval_orders(n, 2, plan) for n in range(1, 6)] == [[1], [2], [2, 1], [2, 2], [2, 2, 1]]
        assert interval_orders(4, 1, plan) == [1, 1, 1, 1]
    assert [interval_orders(n, 2, "to_zero") for n in range(1, 6)] == [[1], [1, 1], [2, 1], [2, 1, 1], [2, 2, 1]]


def test_a_plan_that_cannot_end_at_zero_is_refused() -> None:
    assert refusal([5.0, 1.0, 0.0], [2, 1]) == ""
    assert refusal([5.0, 1.0, 0.1], [2, 2]) == ""
    assert "order 2 at 5 evaluations" in refusal([5.0, 1.0, 0.0], [3, 2])
