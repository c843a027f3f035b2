"""iPNDM against polynomials it integrates exactly and the slope of random steps; others are in ``bench.parity``."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.coefficients import polynomial_weights
from bench.errors import UsageError
from bench.grids import Grid
from bench.process import EDM
from bench.registry import create
from methods.solvers.ddim import DDIM
from methods.solvers.ipndm import IPNDM, WEIGHTS

Make = Callable[..., Grid]


class NoNoise:
    def normal(self) -> Tensor:
        raise AssertionError("a deterministic solver drew noise")


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_weights_are_adams_bashforth(order: int) -> None:
    assert WEIGHTS[order - 1] == pytest.approx(polynomial_weights([-float(j) for j in range(order)], 1.0), rel=1e-14)


def test_order_1_is_ddim(denoise, noise, karras: Make) -> None:
    grid, x = karras(6, "zero"), 10 * noise()
    theirs = DDIM().integrate(denoise, x, grid, NoNoise())
    torch.testing.assert_close(IPNDM(order=1).integrate(denoise, x, grid, NoNoise()), theirs, rtol=1e-12, atol=1e-12)


def test_random_steps_cost_more_than_smooth_ones(denoise, noise) -> None:
    # the local error is O(h^2) where neighbouring steps differ, so the slope falls below the 2 of smooth grids
    x, solver = 10 * noise(), IPNDM(order=2)

    def solve(u: Tensor) -> Tensor:
        return solver.integrate(denoise, x, Grid(10.0 * (0.1 / 10.0) ** u, EDM()), NoNoise())

    exact = solve(torch.linspace(0, 1, 2001, dtype=torch.float64))

    def error(n: int, jitter: float) -> float:
        u = torch.arange(n + 1, dtype=torch.float64)
        u[1:-1] += jitter * (torch.rand(n - 1, generator=torch.Generator().manual_seed(n), dtype=torch.float64) - 0.5)
        return float((solve(u / n) - exact).square().mean().sqrt())

    def slope(jitter: float) -> float:
        return math.log2(error(32, jitter) / error(256, jitter)) / 3

    assert slope(0.0) == pytest.approx(2, abs=0.15)
    assert slope(0.8) < 1.8


def test_afs_saves_the_first_evaluation(denoise, noise, karras: Make) -> None:
    levels: list[float] = []

    def noted(x: Tensor, sigma: float) -> Tensor:
        levels.append(sigma)
        return denoise(x, sigma)

    grid, x = karras(5, "zero"), 10 * noise()
    IPNDM(afs=True).integrate(noted, x, grid, NoNoise())
    assert levels == grid.nodes[1:-1]
    assert IPNDM(afs=True).intervals(4) == 5


def test_default_grid_is_uniform_in_vp_time() -> None:
    assert IPNDM().grid == "vp_uniform"


@pytest.mark.parametrize("spec", ["order=0", "order=5", "order=two", "eta=1"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"ipndm[{spec}]")
