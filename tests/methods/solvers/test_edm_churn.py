"""EDM's stochastic sampler against Heun, Euler, k-diffusion's formulas and the moments of a Gaussian."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from unittest import mock

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.errors import UsageError
from bench.grids import Grid
from bench.process import EDM
from bench.registry import create
from methods.solvers.ddim import DDIM
from methods.solvers.edm_churn import EDMChurn
from methods.solvers.heun import Heun

Make = Callable[..., Grid]
MEAN, STD = 0.7, 0.6
BASES = ("heun", "euler")


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


class Normals:
    """Standard normal numbers from a generator of its own."""

    def __init__(self, x: Tensor) -> None:
        self.x, self.source, self.drawn = x, torch.Generator().manual_seed(3), 0

    def normal(self) -> Tensor:
        self.drawn += 1
        return torch.randn(self.x.shape, generator=self.source, dtype=self.x.dtype)


class NoNoise:
    def normal(self) -> Tensor:
        raise AssertionError("drew noise")


def moments(solver: EDMChurn, grid: Grid, mean: float, var: float) -> tuple[float, float, int]:
    """Mean and variance of the result for a Gaussian start, exact, and the number of draws."""
    x = torch.full((len(grid) + 1, 1), mean, dtype=torch.float64)
    x[1] += 1
    noise = Impulses(x)
    out = solver.integrate(gaussian, x, grid, noise)[:, 0]
    response = out[1:] - out[0]
    return float(out[0]), float(var * response[0] ** 2 + response[1:].square().sum()), noise.drawn


def slope(sigma: float) -> float:
    """``d(x, sigma) = slope (x - MEAN)`` of the Gaussian."""
    return sigma / (STD**2 + sigma**2)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("end", ["sigma_min", "zero"])
@pytest.mark.parametrize("s_churn", [0.3, 1e9])  # below and at the limit of gamma
@pytest.mark.parametrize("ceiling", [False, True])
def test_moments_of_a_gaussian_step_by_step(karras: Make, base: str, end: str, s_churn: float, ceiling: bool) -> None:
    solver = EDMChurn(base=base, s_churn=s_churn, s_tmin=0.1, s_tmax=1e9, s_noise=1.2, ceiling=ceiling)
    for n in (1, 2, 7):
        grid, (mean, var), drawn = karras(n, end), (1.3, 90.0), 0
        for high, low in grid.steps():
            gamma = min(s_churn / n, math.sqrt(2) - 1) if high >= 0.1 else 0.0
            raised = min(high * (1 + gamma), 10.0) if ceiling else high * (1 + gamma)
            drawn += raised > high
            var += 1.2**2 * (raised**2 - high**2)
            euler = factor = 1 + (low - raised) * slope(raised)
            if low and base == "heun":
                factor = 1 + (low - raised) / 2 * (slope(raised) + slope(low) * euler)
            mean, var = MEAN + factor * (mean - MEAN), factor**2 * var
        found = moments(solver, grid, 1.3, 90.0)
        assert found[:2] == pytest.approx((mean, var), rel=1e-9)
        assert found[2] == drawn


@pytest.mark.parametrize(("base", "order"), [("heun", 2), ("euler", 1)])
def test_the_variance_converges_with_the_order_of_the_ode_solver(uneven: Make, base: str, order: int) -> None:
    high, low = 5.0, 0.05
    solver = EDMChurn(base=base, s_churn=20.0, s_tmin=0.0, s_noise=1.0)
    assert solver.declared_order is None
    errors = []
    for n in (128, 256, 512):
        _, var, drawn = moments(solver, uneven(n, high, low), MEAN, STD**2 + high**2)
        errors.append(abs(var - STD**2 - low**2))
        assert drawn == n - 1  # the first level is the ceiling
    assert math.log2(errors[0] / errors[2]) / 2 == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("end", ["sigma_min", "zero", "append"])
@pytest.mark.parametrize("n", [2, 3, 8])
def test_without_churn_it_is_heun_or_euler(denoise, noise, karras: Make, n: int, end: str) -> None:
    grid, x = karras(n, end), 10 * noise()
    for base, other, order in (("heun", Heun(), 2), ("euler", DDIM(), 1)):
        solver = EDMChurn(base=base, s_churn=0.0)
        assert solver.declared_order == order
        theirs = other.integrate(denoise, x, grid, NoNoise())
        torch.testing.assert_close(solver.integrate(denoise, x, grid, NoNoise()), theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("base", BASES)
def test_is_k_diffusion(denoise, noise, karras: Make, k_sampling: ModuleType, base: str) -> None:
    for n, (s_tmin, s_tmax) in ((1, (0.0, 1e9)), (2, (0.0, 1e9)), (9, (0.3, 4.0)), (9, (0.0, 10.0))):
        for end in ("append", "sigma_min") if n > 1 else ("zero",):
            grid, x = karras(n, end), 10 * noise()
            draws = Normals(x)
            used = iter(s_tmin <= sigma <= s_tmax for sigma in grid.nodes[:-1])

            def randn_like(x: Tensor, draws: Normals = draws, used=used) -> Tensor:  # they draw at every step
                return draws.normal() if next(used) else torch.zeros_like(x)

            options = {"s_churn": 3.0, "s_tmin": s_tmin, "s_tmax": s_tmax, "s_noise": 1.1}
            with mock.patch.object(k_sampling, "torch", SimpleNamespace(randn_like=randn_like)):
                theirs = getattr(k_sampling, f"sample_{base}")(denoise, x, grid.sigma, disable=True, **options)
            ours = EDMChurn(base=base, ceiling=False, **options).integrate(denoise, x, grid, Normals(x))
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_the_range_of_levels_includes_its_ends(denoise, noise) -> None:
    grid = Grid(torch.tensor([8.0, 4.0, 2.0, 1.0, 0.0], dtype=torch.float64), EDM())
    for s_tmin, s_tmax, drawn in ((2, 4, 2), (2.001, 3.999, 0), (1, 8, 3), (0, 1, 1), (8, 8, 0)):
        solver, source = EDMChurn(s_tmin=s_tmin, s_tmax=s_tmax), Normals(10 * noise())
        solver.integrate(denoise, source.x, grid, source)
        assert source.drawn == drawn  # never at 8, the first level


def test_the_ceiling_keeps_levels_below_the_first(denoise, noise, karras: Make) -> None:
    for ceiling, highest in ((True, 10.0), (False, 10.0 * math.sqrt(2))):
        levels: list[float] = []

        def noted(x: Tensor, sigma: float, levels: list[float] = levels) -> Tensor:
            levels.append(sigma)
            return denoise(x, sigma)

        x = 10 * noise()
        EDMChurn(ceiling=ceiling).integrate(noted, x, karras(20), Normals(x))
        assert max(levels) == pytest.approx(highest)
        assert levels[2] > karras(20).nodes[1]  # the second level is raised in any case


@pytest.mark.parametrize("end", ["sigma_min", "zero"])
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_intervals_cost_what_they_say(denoise, noise, karras: Make, n: int, base: str, end: str) -> None:
    calls: list[float] = []

    def counted(x: Tensor, sigma: float) -> Tensor:
        calls.append(sigma)
        return denoise(x, sigma)

    x = 10 * noise()
    solver = create("method", f"edm_churn[base={base},grid=karras[end={end}]]")
    solver.integrate(counted, x, karras(n, end), Normals(x))
    assert solver.intervals(len(calls)) == n
    if base == "heun":
        for nfe in {len(calls) - 1, len(calls) + 1} - {0}:
            with pytest.raises(Unsupported, match=f"take {'2N - 1' if end == 'zero' else '2N'} eval.*{len(calls)}"):
                solver.intervals(nfe)


@pytest.mark.parametrize(("spec", "nfe", "near"), [("", 2, "1 or 3"), ("", 4, "3 or 5"), ("sigma_min", 1, "2")])
def test_a_refusal_names_the_nearest_budgets(spec: str, nfe: int, near: str) -> None:
    grid = f"[grid=karras[end={spec}]]" if spec else ""
    with pytest.raises(Unsupported, match=f"use nfe {near}$"):
        create("method", f"edm_churn{grid}").intervals(nfe)


@pytest.mark.parametrize("spec", ["s_churn=-1", "s_tmin=-1", "s_noise=-1", "base=dpm2", "s_tmax=inf", "ceiling=2"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"edm_churn[{spec}]")


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(UsageError, match="s_tmin must not be above s_tmax"):
        create("method", "edm_churn[s_tmin=2,s_tmax=1]")
    assert create("method", "edm_churn[s_tmin=2,s_tmax=2]").s_tmax == 2


def test_defaults_are_the_authors_settings_for_imagenet() -> None:
    solver = EDMChurn()
    assert (solver.base, solver.s_churn, solver.s_tmin, solver.s_tmax, solver.s_noise) == ("heun", 40, 0.05, 50, 1.003)
    assert solver.ceiling


def test_added_noise_may_be_left_out() -> None:
    assert create("method", "edm_churn[s_noise=0]").s_noise == 0
