"""Heun against k-diffusion, diffusers and the count of Algorithm 1."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.errors import UsageError
from bench.grids import Grid
from bench.registry import create
from methods.solvers.heun import Heun

Make = Callable[..., Grid]
ENDS = ("sigma_min", "zero", "append")


class NoNoise:
    def normal(self) -> Tensor:
        raise AssertionError("a deterministic solver drew noise")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("n", [2, 3, 8])
def test_is_k_diffusion(denoise, noise, karras: Make, k_sampling, n: int, end: str) -> None:
    grid, x = karras(n, end), 10 * noise()
    theirs = k_sampling.sample_heun(lambda x, sigma: denoise(x, sigma), x, grid.sigma, disable=True)
    torch.testing.assert_close(Heun().integrate(denoise, x, grid, NoNoise()), theirs, rtol=1e-9, atol=1e-9)
    single = Heun().integrate(denoise, x.float(), grid, NoNoise())
    torch.testing.assert_close(single.double(), theirs, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_is_diffusers(denoise, noise, karras: Make, n: int) -> None:
    grid, x = karras(n, "zero"), 10 * noise()
    scheduler = pytest.importorskip("diffusers").HeunDiscreteScheduler(beta_schedule="scaled_linear")
    scheduler.set_timesteps(n)
    doubled = grid.sigma[1:-1].repeat_interleave(2)
    scheduler.sigmas = torch.cat([grid.sigma[:1], doubled, grid.sigma[-1:]])
    scheduler.timesteps = torch.arange(2 * n - 1, 0, -1)
    state = x
    for t, sigma in zip(scheduler.timesteps, scheduler.sigmas.tolist(), strict=False):
        state = scheduler.step((state - denoise(state, sigma)) / sigma, t, state).prev_sample
    torch.testing.assert_close(Heun().integrate(denoise, x, grid, NoNoise()), state, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_intervals_cost_what_they_say(denoise, noise, karras: Make, n: int, end: str) -> None:
    calls: list[float] = []

    def counted(x: Tensor, sigma: float) -> Tensor:
        calls.append(sigma)
        return denoise(x, sigma)

    solver = create("method", f"heun[grid=karras[end={end}]]")
    intervals = n + (end == "append")
    Heun().integrate(counted, 10 * noise(), karras(intervals, end), NoNoise())
    assert solver.intervals(len(calls)) == intervals
    for nfe in (len(calls) - 1, len(calls) + 1):
        if nfe > 0:
            with pytest.raises(Unsupported, match=f"use nfe .*{len(calls)}"):
                solver.intervals(nfe)


def test_a_grid_of_the_user_is_read() -> None:
    assert create("method", "heun[grid=user[sigmas=80/1/0.5]]").intervals(4) == 2
    assert create("method", "heun[grid=user[sigmas=80/1/0]]").intervals(3) == 2
    with pytest.raises(UsageError):
        create("method", "heun[grid=user[sigmas=80/one]]").intervals(3)


def test_an_even_budget_of_2_names_its_neighbours() -> None:
    with pytest.raises(Unsupported, match="use nfe 1 or 3"):
        Heun().intervals(2)
