"""DDPM against DDIM at eta = 1 and the covariance of a Gaussian; other packages are in ``bench.parity``."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.errors import UsageError
from bench.grids import Grid, make_grid
from bench.process import EDM
from bench.registry import create
from methods.solvers.ddim import DDIM
from methods.solvers.ddpm import DDPM

Make = Callable[..., Grid]


class Normals:
    """Standard normal numbers from a generator of its own."""

    def __init__(self, x: Tensor) -> None:
        self.x, self.source = x, torch.Generator().manual_seed(3)

    def normal(self) -> Tensor:
        return torch.randn(self.x.shape, generator=self.source, dtype=self.x.dtype)


@pytest.mark.parametrize("end", ["sigma_min", "zero"])
def test_small_is_ddim_with_eta_1(denoise, noise, karras: Make, end: str) -> None:
    for n in (1, 2, 9):
        grid, x = karras(n, end), 10 * noise()
        theirs = DDIM(eta=1.0).integrate(denoise, x, grid, Normals(x))
        torch.testing.assert_close(DDPM().integrate(denoise, x, grid, Normals(x)), theirs, rtol=1e-12, atol=1e-12)


class Impulses:
    """Row 0 gets no noise, row k only that of draw k, of size 1: the responses of a linear sampler, one by one."""

    def __init__(self, x: Tensor) -> None:
        self.x, self.drawn = x, 0

    def normal(self) -> Tensor:
        self.drawn += 1
        out = torch.zeros_like(self.x)
        out[self.drawn] = 1
        return out


@pytest.mark.parametrize("variance", ["small", "large"])
def test_many_steps_reproduce_the_covariance_of_a_gaussian(variance: str) -> None:
    std = torch.tensor([0.3, 1.0, 1.5], dtype=torch.float64)  # in the basis of its covariance
    grid = make_grid("karras", 1000, 0.002, 80.0, EDM())
    x = torch.zeros(1000, 3, dtype=torch.float64)
    x[0] = 80
    out = DDPM(variance=variance).integrate(lambda x, sigma: std**2 / (std**2 + sigma**2) * x, x, grid, Impulses(x))
    torch.testing.assert_close(out.square().sum(0), std**2, rtol=0.02, atol=0)


@pytest.mark.parametrize("spec", ["variance=medium", "clip=0", "clip=-1", "clip=nan"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"ddpm[{spec}]")
