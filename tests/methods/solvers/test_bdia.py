"""BDIA: DDIM and leapfrog as its limits, its formula in the state of the process, and round trips."""

from __future__ import annotations

import itertools
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
from methods.solvers.bdia import BDIA

Make = Callable[..., Grid]
COORDINATES = ["vp", "ve"]


class Calls:
    """A denoiser that notes where it is asked."""

    def __init__(self, denoise: Callable[..., Tensor]) -> None:
        self.denoise = denoise
        self.levels: list[float] = []

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        self.levels.append(float(sigma))
        return self.denoise(x, sigma)


def slope(denoise: Callable[..., Tensor], x: Tensor, sigma: float) -> Tensor:
    return (x - denoise(x, sigma)) / sigma


def test_no_gamma_is_euler(denoise, noise, uneven: Make) -> None:
    x = y = 5 * noise()
    for sigma_s, sigma_t in uneven(6).steps():
        y = y + (sigma_t - sigma_s) * slope(denoise, y, sigma_s)
    for coordinates in COORDINATES:
        end = BDIA(gamma=0, coordinates=coordinates).integrate(denoise, x, uneven(6), None)
        torch.testing.assert_close(end, y, rtol=1e-12, atol=1e-12)


def test_full_gamma_in_x_is_leapfrog(denoise, noise, uneven: Make) -> None:
    nodes = uneven(7).nodes
    states = [5 * noise()]
    states.append(states[0] + (nodes[1] - nodes[0]) * slope(denoise, states[0], nodes[0]))
    for i in range(1, 7):
        states.append(states[-2] + (nodes[i + 1] - nodes[i - 1]) * slope(denoise, states[-1], nodes[i]))
    end = BDIA(gamma=1, coordinates="ve").integrate(denoise, states[0], uneven(7), None)
    torch.testing.assert_close(end, states[-1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.3, 1.0])
@pytest.mark.parametrize("end", ["zero", "sigma_min"])
def test_the_formula_of_the_paper_in_the_scaled_state(denoise, noise, karras: Make, gamma: float, end: str) -> None:
    """``z_{i+1} = z_{i-1} - (1 - g)(z_{i-1} - z_i) - g (F(i -> i-1) - z_i) + (F(i -> i+1) - z_i)``."""
    grid, x = karras(6, end), 10 * noise()
    alpha = [1 / math.sqrt(1 + sigma**2) for sigma in grid.nodes]
    level = [a * sigma for a, sigma in zip(alpha, grid.nodes, strict=True)]

    def ddim(z: Tensor, i: int, j: int) -> Tensor:
        x0_hat = denoise(z / alpha[i], grid.nodes[i])
        return alpha[j] * x0_hat + level[j] * (z - alpha[i] * x0_hat) / level[i]

    older, z = alpha[0] * x, ddim(alpha[0] * x, 0, 1)
    for i in range(1, 6):
        back, ahead = ddim(z, i, i - 1), ddim(z, i, i + 1)
        older, z = z, older - (1 - gamma) * (older - z) - gamma * (back - z) + (ahead - z)
    ours = BDIA(gamma=gamma).integrate(denoise, x, grid, None)
    torch.testing.assert_close(ours, z / alpha[-1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize(("gamma", "slope"), [(0.5, 1), (1.0, 2)])
def test_declared_order_is_measured(denoise, noise, uneven: Make, gamma: float, slope: int, coordinates: str) -> None:
    solver, x = BDIA(gamma=gamma, coordinates=coordinates), 2 * noise()
    assert solver.declared_order == slope
    ends = [solver.integrate(denoise, x, uneven(n, 2.0, 0.1), None) for n in (128, 256, 512)]
    measured = math.log2(float((ends[0] - ends[1]).norm() / (ends[1] - ends[2]).norm()))
    assert measured == pytest.approx(slope, abs=0.15)


def test_gamma_just_below_one_has_order_1() -> None:
    assert BDIA(gamma=0.999).declared_order == 1
    assert BDIA().gamma == 1


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("end", ["zero", "sigma_min"])
@pytest.mark.parametrize("steps", [1, 2, 5, 20])
def test_round_trip_in_single_precision(denoise, noise, karras: Make, coordinates: str, end: str, steps: int) -> None:
    """Noise to image and back to the noise, with gamma = 1."""
    grid, x = karras(steps, end), noise(torch.float32)
    x = x * 10 / math.sqrt(1 + 10**2)  # so that errors are relative to a state of unit scale at the noisy end
    scaled = Calls(lambda x, sigma: denoise(x * math.sqrt(101), sigma) / math.sqrt(101))
    solver = BDIA(gamma=1, coordinates=coordinates)
    first = torch.lerp(scaled(x, grid.nodes[0]), x, grid.nodes[1] / grid.nodes[0])
    before, image = solver.decode(scaled, (x, first), grid)
    assert torch.equal(image, solver.integrate(scaled, x, grid, None))
    scaled.levels.clear()
    start, second = solver.invert(scaled, image, grid, before)
    assert scaled.levels == grid.nodes[-2:0:-1]
    assert float((start - x).abs().max()) < 1e-5
    assert float((second - first).abs().max()) < 1e-5


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("gamma", [0.5, 0.9, 1.0])
def test_round_trip_for_any_gamma(denoise, noise, karras: Make, coordinates: str, gamma: float) -> None:
    """Round-off grows like ``gamma^-steps``, so double precision holds 1e-8 over ten steps."""
    grid, x = karras(10), 10 * noise()
    solver = BDIA(gamma=gamma, coordinates=coordinates)
    first = torch.lerp(denoise(x, grid.nodes[0]), x, grid.nodes[1] / grid.nodes[0])
    before, image = solver.decode(denoise, (x, first), grid)
    start, second = solver.invert(denoise, image, grid, before)
    torch.testing.assert_close(start, x, rtol=0, atol=1e-8)
    torch.testing.assert_close(second, first, rtol=0, atol=1e-8)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("end", ["zero", "sigma_min"])
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_round_trip_of_a_lone_image(denoise, noise, karras: Make, coordinates: str, end: str, steps: int) -> None:
    grid, image = karras(steps, end), noise()
    counted = Calls(denoise)
    solver = BDIA(gamma=1, coordinates=coordinates)
    pair = solver.invert(counted, image, grid)
    assert counted.levels == [grid.nodes[-2], *grid.nodes[-2:0:-1]]
    before, again = solver.decode(denoise, pair, grid)
    torch.testing.assert_close(again, image, rtol=0, atol=1e-10)
    # the pair begins with a DDIM step back that uses the noise seen at the noisier node
    low, high = grid.nodes[-1], grid.nodes[-2]
    alpha = [1 / math.sqrt(1 + s**2) if coordinates == "vp" else 1.0 for s in (low, high)]
    eps = slope(denoise, alpha[0] * image / alpha[1], high)
    torch.testing.assert_close(before, image + (high - low) * eps, rtol=0, atol=1e-9)


def test_a_grid_of_its_own(denoise, noise) -> None:
    """Equal steps, three nodes: by hand."""
    grid, x = Grid(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64), EDM()), 3 * noise()
    one = x - slope(denoise, x, 3.0)
    d = slope(denoise, one, 2.0)
    for coordinates, ratio in (("ve", 1.0), ("vp", math.sqrt(2 / 10))):
        expected = one - d + 0.25 * ratio * (x - (one + d))
        ours = BDIA(gamma=0.25, coordinates=coordinates).integrate(denoise, x, grid, None)
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_what_cannot_be_inverted_and_bad_parameters(denoise, noise, karras: Make) -> None:
    with pytest.raises(Unsupported, match="gamma=0 is plain DDIM"):
        BDIA(gamma=0).invert(denoise, noise(), karras(3))
    for spec in ("gamma=1.1", "gamma=-0.1", "coordinates=edm"):
        with pytest.raises(UsageError):
            create("method", f"bdia[{spec}]")


def test_states_are_left_alone(denoise, noise, karras: Make) -> None:
    x, before = 10 * noise(), noise()
    kept = x.clone(), before.clone()
    solver = BDIA(gamma=1)
    solver.integrate(denoise, x, karras(4), None)
    solver.decode(denoise, (x, before), karras(4))
    solver.invert(denoise, x, karras(4), before)
    assert all(torch.equal(a, b) for a, b in itertools.zip_longest((x, before), kept))
