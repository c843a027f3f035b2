"""DDIM against a closed form and the definition of the ancestral step; other packages are in ``bench.parity``."""

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
from methods.solvers.ddim import DDIM

Make = Callable[..., Grid]


class Normals:
    """Standard normal numbers in a fixed order; counts the draws."""

    def __init__(self, x: Tensor) -> None:
        self.x, self.drawn, self.source = x, 0, torch.Generator().manual_seed(3)

    def normal(self) -> Tensor:
        self.drawn += 1
        return torch.randn(self.x.shape, generator=self.source, dtype=self.x.dtype)


def test_ancestral_step_is_the_gaussian_posterior() -> None:
    # q(x_t | x_s, x0) by precision weighting: x_t ~ N(x0, t^2) a priori, x_s ~ N(x_t, s^2 - t^2)
    s, t, x0, x_s = 3.0, 1.2, torch.tensor([[0.4]], dtype=torch.float64), torch.tensor([[5.0]], dtype=torch.float64)
    variance = 1 / (1 / t**2 + 1 / (s**2 - t**2))
    mean = variance * (x0 / t**2 + x_s / (s**2 - t**2))

    class Unit:
        def __init__(self, value: float) -> None:
            self.value = value

        def normal(self) -> Tensor:
            return torch.full((1, 1), self.value, dtype=torch.float64)

    grid = Grid(torch.tensor([s, t], dtype=torch.float64), EDM())
    for z in (0.0, 1.0):
        out = DDIM(eta=1.0).integrate(lambda x, sigma: x0, x_s, grid, Unit(z))
        torch.testing.assert_close(out, mean + z * math.sqrt(variance), rtol=1e-12, atol=0)


def test_no_noise_is_drawn_in_vain(denoise, noise, karras: Make) -> None:
    x = 10 * noise()
    for eta, end, draws in ((0.0, "zero", 0), (0.5, "zero", 4), (0.5, "sigma_min", 5)):
        normals = Normals(x)
        DDIM(eta=eta).integrate(denoise, x, karras(5, end), normals)
        assert normals.drawn == draws


def test_afs_is_exact_for_data_of_unit_variance(noise, karras: Make) -> None:
    levels: list[float] = []

    def unit(x: Tensor, sigma: float) -> Tensor:
        levels.append(sigma)
        return x / (1 + sigma**2)

    # data N(0, 1) has direction x sigma / (1 + sigma^2); x / sqrt(1 + sigma^2) is that to order 1 / sigma^2
    grid = Grid(torch.tensor([1e4, 2.0, 0.5], dtype=torch.float64), EDM())
    x = 1e4 * noise()
    plain = DDIM().integrate(unit, x, grid, Normals(x))
    levels.clear()
    analytical = DDIM(afs=True).integrate(unit, x, grid, Normals(x))
    torch.testing.assert_close(analytical, plain, rtol=0, atol=1e-3)
    assert levels == [2.0]
    assert DDIM(afs=True).intervals(4) == 5


@pytest.mark.parametrize("spec", ["eta=-0.1", "eta=1.1", "eta=nan", "afs=maybe", "order=1"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"ddim[{spec}]")
