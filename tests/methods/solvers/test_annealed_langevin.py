"""Annealed Langevin dynamics against moments of a Gaussian; the authors' codes are in parity."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.errors import UsageError
from bench.grids import Grid
from bench.process import EDM
from bench.registry import create
from methods.solvers.annealed_langevin import AnnealedLangevin

Make = Callable[..., Grid]
MEAN, STD = 0.7, 0.6


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """The denoiser of N(MEAN, STD^2)."""
    return MEAN + STD**2 / (STD**2 + sigma**2) * (x - MEAN)


class Impulses:
    """The sampler is linear: rows 0 and 1 get no noise, row k + 1 only that of draw k, of size 1."""

    def __init__(self, x: Tensor) -> None:
        self.x, self.drawn = x, 0

    def normal(self) -> Tensor:
        self.drawn += 1
        out = torch.zeros_like(self.x)
        out[self.drawn + 1] = 1
        return out


def moments(solver: AnnealedLangevin, grid: Grid, mean: float, var: float) -> tuple[float, float, list[float]]:
    """Mean and variance of the result for a Gaussian start, exact, and the levels asked for."""
    x = torch.full((len(grid) * solver.steps + 2, 1), mean, dtype=torch.float64)
    x[1] += 1
    levels: list[float] = []

    def noted(x: Tensor, sigma: float) -> Tensor:
        levels.append(sigma)
        return gaussian(x, sigma)

    out = solver.integrate(noted, x, grid, Impulses(x))[:, 0]
    response = out[1:] - out[0]
    return float(out[0]), float(var * response[0] ** 2 + response[1:].square().sum()), levels


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("step", [0.2, 0.0512, 1.5])
@pytest.mark.parametrize("end", ["sigma_min", "zero"])
def test_moments_of_a_gaussian_step_by_step(karras: Make, steps: int, step: float, end: str) -> None:
    solver = AnnealedLangevin(steps=steps, step=step)
    assert solver.declared_order is None
    for n in (1, 2, 5):
        grid, (mean, var) = karras(n, end), (1.3, 90.0)
        levels = [sigma for sigma in grid.nodes if sigma > 0]
        for sigma in levels:
            size = step * sigma**2  # epsilon of the paper: x + size score + sqrt(2 size) z
            factor = 1 - size / (STD**2 + sigma**2)
            for _ in range(steps):
                mean, var = MEAN + factor * (mean - MEAN), factor**2 * var + 2 * size
        asked = [sigma for sigma in levels for _ in range(steps)]
        if end == "zero":
            gain = STD**2 / (STD**2 + levels[-1] ** 2)
            mean, var = MEAN + gain * (mean - MEAN), gain**2 * var
            asked.append(levels[-1])
        found = moments(solver, grid, 1.3, 90.0)
        assert found[:2] == pytest.approx((mean, var), rel=1e-9)
        assert found[2] == asked
        spec = f"annealed_langevin[steps={steps},step={step},grid=karras[end={end}]]"
        assert create("method", spec).intervals(len(asked)) == n


def test_the_variance_settles_where_the_docstring_says() -> None:
    sigma, step = 0.5, 0.2
    grid = Grid(torch.tensor([sigma + 1e-9, sigma], dtype=torch.float64), EDM())
    mean, var, _ = moments(AnnealedLangevin(steps=200, step=step), grid, 3.0, 5.0)
    settled = (STD**2 + sigma**2) / (1 - step * sigma**2 / (2 * (STD**2 + sigma**2)))
    assert (mean, var) == pytest.approx((MEAN, settled), rel=1e-7)


def test_small_steps_at_many_levels_have_the_marginals_of_the_data(uneven: Make) -> None:
    high, low = 5.0, 0.05
    mean, var, _ = moments(AnnealedLangevin(steps=100, step=0.05), uneven(30, high, low), MEAN, STD**2 + high**2)
    assert mean == pytest.approx(MEAN)
    assert math.sqrt(var) == pytest.approx(math.sqrt(STD**2 + low**2), rel=0.025)


@pytest.mark.parametrize(("spec", "nfe", "says"), [
    ("", 1, "T N \\+ 1 evaluations on this grid; use nfe 2$"),
    ("steps=3", 3, "N intervals of 3 Langevin steps take T N \\+ 1 evaluations on this grid; use nfe 4$"),
    ("steps=3", 5, "use nfe 4 or 7$"),
    ("steps=3", 9, "use nfe 7 or 10$"),
    ("grid=karras[end=sigma_min]", 1, "T \\(N \\+ 1\\) evaluations on this grid; use nfe 2$"),
    ("steps=3,grid=karras[end=sigma_min]", 3, "use nfe 6$"),
    ("steps=3,grid=karras[end=sigma_min]", 5, "use nfe 6$"),
    ("steps=3,grid=karras[end=sigma_min]", 7, "use nfe 6 or 9$"),
])  # fmt: skip
def test_budgets_that_are_refused(spec: str, nfe: int, says: str) -> None:
    with pytest.raises(Unsupported, match=says):
        create("method", f"annealed_langevin[{spec}]").intervals(nfe)


@pytest.mark.parametrize("spec", ["steps=0", "step=0", "step=2", "step=-1", "steps=x"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"annealed_langevin[{spec}]")


def test_the_default_step_is_that_of_the_released_code() -> None:
    assert AnnealedLangevin().step == pytest.approx(2e-5 / 0.01**2)
    assert AnnealedLangevin().steps == 1
