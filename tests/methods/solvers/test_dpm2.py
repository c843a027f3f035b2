"""Two-stage steps against k-diffusion, Heun, DDIM, measured orders and the moments of a Gaussian."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.convergence import measured_order
from bench.errors import UsageError
from bench.grids import Grid
from bench.registry import create
from methods.solvers.ddim import DDIM
from methods.solvers.dpm2 import DPM2
from methods.solvers.heun import Heun

Make = Callable[..., Grid]
MEAN, STD = 0.7, 0.6
STEPS = (1, 2, 3, 8)


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
        self.x, self.source = x, torch.Generator().manual_seed(3)

    def normal(self) -> Tensor:
        return torch.randn(self.x.shape, generator=self.source, dtype=self.x.dtype)


class NoNoise:
    def normal(self) -> Tensor:
        raise AssertionError("drew noise")


def moments(solver: DPM2, grid: Grid, mean: float, var: float) -> tuple[float, float, int]:
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


@pytest.mark.parametrize("end", ["sigma_min", "zero", "append"])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_is_k_diffusion(denoise, noise, karras: Make, k_sampling: ModuleType, end: str, eta: float) -> None:
    for n in STEPS:
        if n == 1 and end == "append":
            continue
        grid, x = karras(n, end), 10 * noise()
        for order, name in ((1, "sample_euler_ancestral"), (2, "sample_dpm_2_ancestral")):
            draws = Normals(x)
            theirs = getattr(k_sampling, name)(
                denoise, x, grid.sigma, disable=True, eta=eta, s_noise=1.1,
                noise_sampler=lambda *_, draws=draws: draws.normal(),
            )  # fmt: skip
            ours = DPM2(order=order, eta=eta, s_noise=1.1).integrate(denoise, x, grid, Normals(x))
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
        if eta == 0:
            theirs = k_sampling.sample_dpm_2(denoise, x, grid.sigma, disable=True)
            torch.testing.assert_close(DPM2().integrate(denoise, x, grid, NoNoise()), theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("end", ["sigma_min", "zero"])
def test_alpha_1_is_heun(denoise, noise, karras: Make, end: str) -> None:
    for n in STEPS:
        grid, x = karras(n, end), 10 * noise()
        theirs = Heun().integrate(denoise, x, grid, NoNoise())
        ours = DPM2(midpoint="alpha", alpha=1.0).integrate(denoise, x, grid, NoNoise())
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_one_stage_is_ddim(denoise, noise, karras: Make, eta: float) -> None:
    grid, x = karras(7, "zero"), 10 * noise()
    theirs = DDIM(eta=eta).integrate(denoise, x, grid, Normals(x))
    ours = DPM2(order=1, eta=eta).integrate(denoise, x, grid, Normals(x))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 2 / 3, 1.0])  # 0 stands for the geometric midpoint
@pytest.mark.parametrize("end", ["sigma_min", "zero"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_moments_of_a_gaussian_step_by_step(karras: Make, alpha: float, end: str, eta: float) -> None:
    settings = {"midpoint": "alpha", "alpha": alpha} if alpha else {}
    solver = DPM2(eta=eta, s_noise=1.2, **settings)
    for n in (1, 2, 5):
        grid, (mean, var) = karras(n, end), (1.3, 90.0)
        for high, low in grid.steps():
            up = eta * math.sqrt(low**2 * (high**2 - low**2) / high**2)
            down = math.sqrt(low**2 - up**2)
            middle = high + alpha * (down - high) if alpha else math.exp((math.log(high) + math.log(down or 1)) / 2)
            ahead = slope(middle) * (1 + (middle - high) * slope(high))
            first = 1 - 1 / (2 * alpha) if alpha else 0.0
            factor = 1 + (down - high) * (first * slope(high) + (1 - first) * ahead) if low else 1 - high * slope(high)
            mean, var = MEAN + factor * (mean - MEAN), factor**2 * var + (1.2 * up) ** 2
        found = moments(solver, grid, 1.3, 90.0)
        assert found[:2] == pytest.approx((mean, var), rel=1e-9)
        assert found[2] == (n - (end == "zero") if eta else 0)


@pytest.mark.parametrize("order", [1, 2])
def test_with_noise_the_variance_converges_with_the_order_of_the_ode_solver(uneven: Make, order: int) -> None:
    high, low = 5.0, 0.05
    solver = DPM2(order=order, eta=1.0)
    assert solver.declared_order is None
    errors = []
    for n in (128, 256, 512):
        _, var, _ = moments(solver, uneven(n, high, low), MEAN, STD**2 + high**2)
        errors.append(abs(var - STD**2 - low**2))
    assert math.log2(errors[0] / errors[2]) / 2 == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("kind", ["karras", "uneven"])
@pytest.mark.parametrize("solver", [
    DPM2(),
    DPM2(order=1),
    DPM2(midpoint="alpha"),
    DPM2(midpoint="alpha", alpha=0.7),
])  # fmt: skip
def test_declared_order_is_measured(solver: DPM2, kind: str) -> None:
    assert solver.declared_order == solver.order
    assert measured_order(solver, kind) == pytest.approx(solver.order, abs=0.15)


@pytest.mark.parametrize("end", ["sigma_min", "zero"])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_intervals_cost_what_they_say(denoise, noise, karras: Make, n: int, order: int, end: str) -> None:
    calls: list[float] = []

    def counted(x: Tensor, sigma: float) -> Tensor:
        calls.append(sigma)
        return denoise(x, sigma)

    x = 10 * noise()
    solver = create("method", f"dpm2[order={order},eta=1.0,grid=karras[end={end}]]")
    solver.integrate(counted, x, karras(n, end), Normals(x))
    assert solver.intervals(len(calls)) == n
    if order == 2:
        for nfe in {len(calls) - 1, len(calls) + 1} - {0}:
            with pytest.raises(Unsupported, match=f"take {'2N - 1' if end == 'zero' else '2N'} eval.*{len(calls)}"):
                solver.intervals(nfe)


@pytest.mark.parametrize(("spec", "nfe", "near"), [("", 2, "1 or 3"), ("", 4, "3 or 5"), ("sigma_min", 1, "2")])
def test_a_refusal_names_the_nearest_budgets(spec: str, nfe: int, near: str) -> None:
    grid = f"[grid=karras[end={spec}]]" if spec else ""
    with pytest.raises(Unsupported, match=f"use nfe {near}$"):
        create("method", f"dpm2{grid}").intervals(nfe)


@pytest.mark.parametrize("spec", [
    "order=3", "order=0", "midpoint=x", "alpha=0", "alpha=1.01", "eta=1.1", "eta=-0.1", "s_noise=-1",
])  # fmt: skip
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"dpm2[{spec}]")


def test_defaults_are_k_diffusions_dpm_2() -> None:
    assert DPM2() == DPM2(order=2, midpoint="geometric", alpha=0.5, eta=0.0, s_noise=1.0)


def test_added_noise_may_be_left_out() -> None:
    assert create("method", "dpm2[s_noise=0]").s_noise == 0
