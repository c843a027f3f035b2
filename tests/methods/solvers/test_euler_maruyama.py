"""Euler-Maruyama against the moments of a Gaussian, step by step, and their limit; the authors' code is in parity."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.errors import UsageError
from bench.grids import Grid
from bench.process import EDM
from bench.registry import create
from methods.solvers.euler_maruyama import EulerMaruyama

Make = Callable[..., Grid]
MEAN, STD = 0.7, 0.6
SDES = ("ve", "edm", "vp")


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


def moments(solver: EulerMaruyama, grid: Grid, mean: float, var: float) -> tuple[float, float, int]:
    """Mean and variance of the result for a Gaussian start, exact, and the number of draws."""
    x = torch.full((len(grid) + 1, 1), mean, dtype=torch.float64)
    x[1] += 1
    noise = Impulses(x)
    out = solver.integrate(gaussian, x, grid, noise)[:, 0]
    response = out[1:] - out[0]
    return float(out[0]), float(var * response[0] ** 2 + response[1:].square().sum()), noise.drawn


def time(sigma: float) -> float:
    """The VP process' time: ``log(1 + sigma^2) = 19.9 t^2 / 2 + 0.1 t``."""
    return (-0.1 + math.sqrt(0.01 + 2 * 19.9 * math.log1p(sigma**2))) / 19.9


def step(sde: str, mean: float, var: float, high: float, low: float) -> tuple[float, float]:
    """Mean and variance after one Euler-Maruyama step of the reverse SDE, in the variables of the paper."""
    if sde == "vp":
        a, b = (1 / math.sqrt(1 + sigma**2) for sigma in (high, low))
        beta, dt = 0.1 + 19.9 * time(high), time(high) - time(low)
        inverse = 1 / (a**2 * (STD**2 + high**2))  # score of y = a x: -(y - a MEAN) inverse
        factor = 1 + beta * dt / 2 - beta * dt * inverse
        return (factor * a * mean + beta * dt * inverse * a * MEAN) / b, (factor**2 * a**2 * var + beta * dt) / b**2
    span = 2 * high**2 * math.log(high / low) if sde == "ve" else 2 * high * (high - low)
    factor = 1 - span / (STD**2 + high**2)
    return MEAN + factor * (mean - MEAN), factor**2 * var + span


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize("end", ["sigma_min", "zero"])
def test_moments_of_a_gaussian_step_by_step(karras: Make, sde: str, end: str) -> None:
    for n in (1, 2, 5):
        grid, (mean, var) = karras(n, end), (1.3, 90.0)
        for high, low in grid.steps():
            if low:
                mean, var = step(sde, mean, var, high, low)
            else:
                gain = STD**2 / (STD**2 + high**2)
                mean, var = MEAN + gain * (mean - MEAN), gain**2 * var
        found = moments(EulerMaruyama(sde=sde), grid, 1.3, 90.0)
        assert found[:2] == pytest.approx((mean, var), rel=1e-9)
        assert found[2] == n - (end == "zero")  # none in the step to 0


@pytest.mark.parametrize("sde", SDES)
def test_moments_converge_with_slope_1(uneven: Make, sde: str) -> None:
    high, low = 5.0, 0.05
    solver = EulerMaruyama(sde=sde)
    assert solver.declared_order is None
    errors = []
    for n in (256, 512, 1024):
        mean, var, _ = moments(solver, uneven(n, high, low), MEAN, STD**2 + high**2)
        errors.append(abs(var - STD**2 - low**2))
        assert mean == pytest.approx(MEAN, abs=0.02)
    assert errors[-1] < 0.02
    assert math.log2(errors[0] / errors[2]) / 2 == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("sde", SDES)
def test_one_step_to_0_is_the_denoiser(denoise, noise, karras: Make, sde: str) -> None:
    x = 10 * noise()
    out = EulerMaruyama(sde=sde).integrate(denoise, x, karras(1, "zero"), Impulses(x))
    torch.testing.assert_close(out, denoise(x, 10.0), rtol=0, atol=0)


def test_edm_steps_do_not_overshoot() -> None:
    """The deviation from D is multiplied with ``1 - 2 (1 - r)``, in size at most 1; for ve it grows without bound."""
    grid = Grid(torch.tensor([10.0, 0.01], dtype=torch.float64), EDM())
    x = torch.ones(3, 1, dtype=torch.float64)
    ends = {sde: EulerMaruyama(sde=sde).integrate(lambda x, _: 0 * x, x, grid, Impulses(x)) for sde in ("edm", "ve")}
    assert float(ends["edm"][0]) == pytest.approx(-0.998)
    assert float(ends["ve"][0]) == pytest.approx(1 - 2 * math.log(1000))


def test_a_float32_state_stays_one(denoise, noise, karras: Make) -> None:
    x = 10 * noise(torch.float32)
    assert EulerMaruyama(sde="vp").integrate(denoise, x, karras(4), Impulses(x)).dtype == torch.float32


def test_any_budget_and_default() -> None:
    assert [EulerMaruyama().intervals(nfe) for nfe in (1, 2, 7)] == [1, 2, 7]
    assert EulerMaruyama().sde == "ve"
    with pytest.raises(UsageError, match="sde"):
        create("method", "euler_maruyama[sde=subvp]")
