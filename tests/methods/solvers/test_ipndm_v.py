"""iPNDM_v: exact where it is right, and off by what its three slips make, where it is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.coefficients import polynomial_weights
from bench.convergence import GRIDS, measured_order
from bench.errors import UsageError
from bench.grids import Grid
from bench.process import EDM
from bench.registry import create
from methods.solvers.ipndm import IPNDM, WEIGHTS
from methods.solvers.ipndm_v import IPNDMV, _coefficients

Make = Callable[..., Grid]
LENGTHS = (-0.3, -0.7, -1.1, -0.4)


def exact(lengths: tuple[float, ...]) -> list[float]:
    nodes = [0.0]
    for length in lengths[1:]:
        nodes.append(nodes[-1] - length)
    return [weight / lengths[0] for weight in polynomial_weights(nodes, lengths[0])]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_equal_steps_have_the_weights_of_ipndm(order: int) -> None:
    assert _coefficients(*[-0.3] * order) == pytest.approx(WEIGHTS[order - 1], rel=1e-14)


def test_equal_steps_of_order_4_have_11_24_for_3_8() -> None:
    """The sign in T_2 is 1/12 of a third difference."""
    off = [a - b for a, b in zip(_coefficients(*[-0.3] * 4), WEIGHTS[3], strict=True)]
    assert off == pytest.approx([1 / 12, -3 / 12, 3 / 12, -1 / 12], rel=1e-12)


@pytest.mark.parametrize("order", [1, 2])
def test_low_orders_are_exact(order: int) -> None:
    assert _coefficients(*LENGTHS[:order]) == pytest.approx(exact(LENGTHS[:order]), rel=1e-14)


def test_the_misplaced_parenthesis() -> None:
    """T_1 is ``(1 - p) / 2`` too large, which multiplies a second difference."""
    h, h_1, h_2 = LENGTHS[:3]
    p = h * (h + h_1) / (h_1 * (h_1 + h_2))
    extra = (1 - p) / 2
    off = [a - b for a, b in zip(_coefficients(h, h_1, h_2), exact((h, h_1, h_2)), strict=True)]
    assert off == pytest.approx([extra, -(1 + h_1 / h_2) * extra, h_1 / h_2 * extra], rel=1e-12)
    assert abs(extra) > 0.2


def test_all_three_slips() -> None:
    """Published minus exact: the parenthesis in T_1, twice the second term of T_2, and c_3."""
    h, h_1, h_2, h_3 = LENGTHS
    p = h * (h + h_1) / (h_1 * (h_1 + h_2))
    q = p * (h + h_1 + h_2) / (h_1 + h_2 + h_3)
    second = (h + 2 * h_1) / (2 * (h + h_1)) * h / (6 * (h + h_1 + h_2)) * q
    t_1, t_2 = (1 - p) / 2, 2 * second
    published = (2 * h + 3 * h_1) / (6 * (h + h_1)) * q + second
    b, g = h_1 / h_2, h_1 * (h_1 + h_2) / (h_2 * (h_2 + h_3))
    slip = -g * published * (b - h_2 / h_3)
    expected = [
        t_1 + t_2,
        -(1 + b) * t_1 - (1 + b + g) * t_2,
        b * t_1 + (b + g * (1 + h_2 / h_3)) * t_2,
        -g * h_2 / h_3 * t_2 + slip,
    ]
    found = _coefficients(*LENGTHS)
    off = [a - b for a, b in zip(found, exact(LENGTHS), strict=True)]
    assert off == pytest.approx(expected, rel=1e-12)
    assert sum(found) == pytest.approx(1 + slip, rel=1e-12)
    assert abs(slip) > 0.01


@pytest.mark.parametrize("order", [2, 3])
def test_equal_steps_are_ipndm(denoise, noise, order: int) -> None:
    grid, x = Grid(torch.linspace(10, 1, 9, dtype=torch.float64), EDM()), 10 * noise()
    theirs = IPNDM(order=order).integrate(denoise, x, grid, None)
    torch.testing.assert_close(IPNDMV(order=order).integrate(denoise, x, grid, None), theirs)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_recursion(denoise, noise, uneven: Make, order: int) -> None:
    grid, x = uneven(7), 5 * noise()
    nodes, history = grid.nodes, []
    state = x
    for i in range(7):
        history.append((state - denoise(state, nodes[i])) / nodes[i])
        used = range(i, max(-1, i - order), -1)
        weights = _coefficients(*[nodes[j + 1] - nodes[j] for j in used])
        state = state + (nodes[i + 1] - nodes[i]) * sum(c * history[j] for c, j in zip(weights, used, strict=True))
    torch.testing.assert_close(IPNDMV(order=order).integrate(denoise, x, grid, None), state, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_declared_order_is_measured(order: int, kind: str) -> None:
    assert IPNDMV(order=order).declared_order == order
    assert measured_order(IPNDMV(order=order), kind) == pytest.approx(order, abs=0.15)


def test_order_4_converges_slowly_and_declares_nothing() -> None:
    assert IPNDMV().declared_order is None
    assert measured_order(IPNDMV(), "uneven") < 1.2
    assert IPNDMV(order=3, afs=True).declared_order is None


def test_order_3_falls_to_2_on_random_steps(denoise, noise) -> None:
    x, solver = 10 * noise(), IPNDMV(order=3)

    def solve(u: Tensor) -> Tensor:
        return solver.integrate(denoise, x, Grid(10.0 * (0.1 / 10.0) ** u, EDM()), None)

    exactly = solve(torch.linspace(0, 1, 2001, dtype=torch.float64))

    def error(n: int) -> float:
        u = torch.arange(n + 1, dtype=torch.float64)
        u[1:-1] += 0.8 * (torch.rand(n - 1, generator=torch.Generator().manual_seed(n), dtype=torch.float64) - 0.5)
        return float((solve(u / n) - exactly).square().mean().sqrt())

    assert math.log2(error(32) / error(256)) / 3 < 2.5


def test_afs_saves_the_first_evaluation(denoise, noise, karras: Make) -> None:
    levels: list[float] = []

    def noted(x: Tensor, sigma: float) -> Tensor:
        levels.append(sigma)
        return denoise(x, sigma)

    grid, x = karras(5, "zero"), 10 * noise()
    IPNDMV(afs=True).integrate(noted, x, grid, None)
    assert levels == grid.nodes[1:-1]
    assert (IPNDMV(afs=True).intervals(4), IPNDMV().intervals(4)) == (5, 4)
    # one step: the closed form for data of unit variance
    one = Grid(torch.tensor([10.0, 4.0], dtype=torch.float64), EDM())
    torch.testing.assert_close(IPNDMV(afs=True).integrate(noted, x, one, None), x * (1 - 6 / math.sqrt(101)))


def test_defaults() -> None:
    assert (IPNDMV().order, IPNDMV().afs) == (4, False)


@pytest.mark.parametrize("spec", ["order=0", "order=5", "weights=exact"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"ipndm_v[{spec}]")
