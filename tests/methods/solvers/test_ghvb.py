"""Momentum against the authors' tabulated weights, iPNDM at integer orders, and the geometric series of a velocity."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.convergence import GRIDS, measured_order
from bench.errors import UsageError
from bench.grids import Grid
from bench.process import EDM
from bench.registry import create
from methods.solvers.ghvb import GHVB
from methods.solvers.ipndm import IPNDM

Make = Callable[..., Grid]
VARIANTS = ("ghvb", "hb", "nesterov")


def table(count: int, b: float) -> list[float]:
    """The weights of the authors' code (AdamBmixer), newest first; b = 1 are Adams-Bashforth's."""
    rows = {
        1: ([b], 1),
        2: ([2 + b, b - 2], 2),
        3: ([18 + 5 * b, 8 * b - 24, 6 - b], 12),
        4: ([46 + 9 * b, 19 * b - 78, 42 - 5 * b, b - 10], 24),
        5: ([1650 + 251 * b, 646 * b - 3420, 2880 - 264 * b, 106 * b - 1380, 270 - 19 * b], 720),
    }
    row, divisor = rows[count]
    return [weight / divisor / b for weight in row]


def mix(count: int, b: float, series: list[Tensor]) -> Tensor:
    return sum(w * value for w, value in zip(table(count, b), reversed(series), strict=False))


def reference(solver: GHVB, denoise: Callable[..., Tensor], x: Tensor, grid: Grid, count: int, beta: float) -> Tensor:
    eps: list[Tensor] = []
    velocities: list[Tensor] = []
    v = None
    for sigma_s, sigma_t in grid.steps():
        eps.append((x - denoise(x, sigma_s)) / sigma_s)
        v = eps[0] if v is None else v
        k = min(count, len(eps))
        if solver.variant == "ghvb":
            v = (1 - beta) * v + beta * eps[-1]
            velocities.append(v)
            direction = mix(k, beta, velocities)
        else:
            plain = mix(k, 1.0, eps)
            v = (1 - beta) * v + beta * plain
            direction = v if solver.variant == "hb" else (1 - beta) * v + beta * plain
        x = x + (sigma_t - sigma_s) * direction
    return x


@pytest.mark.parametrize("end", ["zero", "sigma_min"])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("order", "count", "beta"),
    [(0.4, 1, 0.4), (1.0, 1, 1.0), (1.7, 2, 0.7), (2.5, 3, 0.5), (3.3, 4, 0.3), (4.6, 5, 0.6), (5.0, 5, 1.0)],
)
def test_the_authors_recursion(
    denoise, noise, karras: Make, variant: str, order: float, count: int, beta: float, end: str
) -> None:
    solver, x = GHVB(variant=variant, order=order), 10 * noise()
    for n in (1, 2, 9):
        theirs = reference(solver, denoise, x, karras(n, end), count, beta)
        torch.testing.assert_close(solver.integrate(denoise, x, karras(n, end), None), theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_integer_orders_are_ipndm(denoise, noise, karras: Make, order: int, variant: str) -> None:
    grid, x = karras(9), 10 * noise()
    theirs = IPNDM(order=order).integrate(denoise, x, grid, None)
    ours = GHVB(variant=variant, order=order).integrate(denoise, x, grid, None)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_constant_noise_prediction_is_integrated_exactly(uneven: Make, variant: str) -> None:
    grid, x = uneven(8), torch.full((2, 3), 4.0, dtype=torch.float64)
    end = GHVB(variant=variant, order=3.4).integrate(lambda x, sigma: x - 2 * sigma, x, grid, None)
    torch.testing.assert_close(end, x + 2 * (grid.nodes[-1] - grid.nodes[0]), rtol=1e-12, atol=1e-12)


def test_heavy_ball_of_one_value_is_a_geometric_series() -> None:
    """eps = 1, 0, 0, ... gives v = 1, 1 - beta, (1 - beta)^2, ..."""
    grid = Grid(torch.arange(6, 0, -1, dtype=torch.float64), EDM())

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return x - sigma * (sigma == 6)

    end = GHVB(variant="hb", order=0.3).integrate(denoise, torch.zeros(1, 1, dtype=torch.float64), grid, None)
    assert float(end) == pytest.approx(-sum(0.7**i for i in range(5)))


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize(
    ("variant", "order", "declared"),
    [("ghvb", 0.5, 1), ("ghvb", 2.5, 2), ("ghvb", 3.8, 2), ("hb", 2.5, 1), ("nesterov", 2.5, 1)],
)
def test_declared_order_is_measured(variant: str, order: float, declared: int, kind: str) -> None:
    solver = GHVB(variant=variant, order=order)
    assert solver.declared_order == declared
    assert measured_order(solver, kind) == pytest.approx(declared, abs=0.15)


@pytest.mark.parametrize(
    ("variant", "order", "declared"),
    [
        ("ghvb", 1, 1), ("ghvb", 4, 2), ("hb", 3, 2), ("nesterov", 1, 1), ("hb", 1.5, 1), ("ghvb", 1.5, 2),
        ("ghvb", 2.1, None), ("hb", 2.1, None), ("nesterov", 2.9, None), ("ghvb", 1.2, 2), ("hb", 2.8, 1),
    ],
)  # fmt: skip
def test_what_is_declared(variant: str, order: float, declared: int | None) -> None:
    assert GHVB(variant=variant, order=order).declared_order == declared


def test_the_state_is_left_alone(denoise, noise, karras: Make) -> None:
    for variant in VARIANTS:
        x, first = 10 * noise(torch.float32), 10 * noise(torch.float32)
        out = GHVB(variant=variant).integrate(denoise, x, karras(4), None)
        assert out.dtype == torch.float32
        assert torch.equal(x, first)


def test_defaults() -> None:
    assert (GHVB().variant, GHVB().order, GHVB().intervals(3)) == ("ghvb", 2.5, 3)


@pytest.mark.parametrize("spec", ["order=0", "order=-1", "order=5.5", "variant=polyak", "beta=0.5"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"ghvb[{spec}]")
