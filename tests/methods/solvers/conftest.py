"""Shared by the solvers' tests: a closed-form teacher, and other implementations run in our coordinates."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.grids import Grid, make_grid
from bench.process import EDM
from bench.suites.mixture import mixture


def closed_form(x: Tensor, sigma: float | Tensor) -> Tensor:
    """D(x, sigma) of the two-dimensional mixture, in the precision of x."""
    return mixture("mixture-2d").to("cpu", x.dtype).denoise(x, sigma)


@pytest.fixture(scope="session")
def denoise() -> Callable[[Tensor, float | Tensor], Tensor]:
    return closed_form


@pytest.fixture(scope="session")
def noise() -> Callable[..., Tensor]:
    """``noise(dtype)``: eight states of unit variance."""

    def make(dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.randn(8, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(dtype)

    return make


@pytest.fixture(scope="session")
def uneven() -> Callable[..., Grid]:
    """``uneven(n, high, low)``: a smooth grid whose neighbouring steps in lambda differ by up to a factor 5."""

    def make(n: int, high: float = 5.0, low: float = 0.05) -> Grid:
        u = torch.linspace(0, 1, n + 1, dtype=torch.float64)
        bend = torch.sin(4.7 * u + 0.4)
        u = u + 0.08 * (bend - bend[0] - u * (bend[-1] - bend[0]))
        return Grid(high * (low / high) ** u, EDM())

    return make


@pytest.fixture(scope="session")
def karras() -> Callable[..., Grid]:
    """``karras(n, end)``: between 10 and 0.02, where the rounding of a float32 state stays below 1e-5."""

    def make(n: int, end: str = "sigma_min") -> Grid:
        return make_grid(f"karras[end={end}]", n, 0.02, 10.0, EDM())

    return make


def _quiet_import(name: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


@pytest.fixture(scope="session")
def k_sampling() -> ModuleType:
    pytest.importorskip("k_diffusion")
    return _quiet_import("k_diffusion.sampling")


@pytest.fixture(scope="session")
def diffusers_solve() -> Callable[..., Tensor]:
    """``solve(name, config, x, grid, noise)``: a diffusers scheduler along a grid, from and to our coordinates.

    diffusers scales its states by ``alpha = 1 / sqrt(1 + sigma^2)`` and has eps predicted. Its own noise levels and
    times are replaced, since it rounds them to its table of betas.
    """
    _quiet_import("diffusers")

    def solve(
        name: str,
        config: dict[str, Any],
        x: Tensor,
        grid: Grid,
        normal: Sequence[Tensor] = (),
        model: Callable[[Tensor, float], Tensor] = closed_form,
    ) -> Tensor:
        n = len(grid) - 1
        config = {"beta_schedule": "scaled_linear", "prediction_type": "epsilon", **config}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # what is deprecated is compared as long as it is there
            scheduler = getattr(importlib.import_module("diffusers"), name)(**config)
        scheduler.set_timesteps(n)
        scheduler.sigmas = grid.sigma.clone()
        scheduler.timesteps = torch.arange(n, 0, -1)
        alpha = (1 + grid.sigma**2).rsqrt().to(x.dtype)
        sample = x * alpha[0]
        for i, sigma in enumerate(grid.nodes[:-1]):
            state = sample / alpha[i]
            eps = (state - model(state, sigma)) / sigma
            extra = {"variance_noise": normal[i]} if normal else {}
            sample = scheduler.step(eps, scheduler.timesteps[i], sample, **extra).prev_sample
        return sample / alpha[-1]

    return solve
