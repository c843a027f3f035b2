"""EDICT: the coupled steps by hand, in both states of the process, and round trips."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.errors import UsageError
from bench.grids import Grid
from bench.registry import create
from methods.solvers.edict import EDICT

Make = Callable[..., Grid]
COORDINATES = ["vp", "ve"]


def by_hand(denoise: Callable[..., Tensor], x: Tensor, grid: Grid, p: float, coordinates: str) -> list[Tensor]:
    """Both states, in the state z of the process, where alpha is 1 for ``ve``; the pair at the last node, in x."""
    alpha = [1 / math.sqrt(1 + s**2) if coordinates == "vp" else 1.0 for s in grid.nodes]
    z = y = alpha[0] * x
    for i, (high, low) in enumerate(grid.steps()):

        def step(base: Tensor, other: Tensor, i: int = i, high: float = high, low: float = low) -> Tensor:
            eps = (other / alpha[i] - denoise(other / alpha[i], high)) / high
            clean = (base - alpha[i] * high * eps) / alpha[i]
            return alpha[i + 1] * (clean + low * eps)

        if i % 2 == 0:
            z = step(z, y)
            y = step(y, z)
        else:
            y = step(y, z)
            z = step(z, y)
        z = p * z + (1 - p) * y
        y = (1 - p) * z + p * y
    return [z / alpha[-1], y / alpha[-1]]


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("p", [1.0, 0.93, 0.6])
@pytest.mark.parametrize(("steps", "end"), [(1, "sigma_min"), (1, "zero"), (2, "zero"), (5, "zero"), (4, "sigma_min")])
def test_steps_by_hand(denoise, noise, karras: Make, steps: int, end: str, p: float, coordinates: str) -> None:
    grid, x = karras(steps, end), 10 * noise()
    solver = EDICT(p=p, coordinates=coordinates)
    expected = by_hand(denoise, x, grid, p, coordinates)
    found = solver.decode(denoise, (x, x), grid)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert torch.equal(solver.integrate(denoise, x, grid, None), found[0])


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("p", [1.0, 0.93, 0.7])
@pytest.mark.parametrize("steps", [1, 2, 3, 8])
def test_round_trips(denoise, noise, karras: Make, steps: int, p: float, coordinates: str) -> None:
    """Noise to image and back, and a lone image to noise and back."""
    solver, x = EDICT(p=p, coordinates=coordinates), 10 * noise()
    for end in ("zero", "sigma_min"):
        grid = karras(steps, end)
        start = solver.invert(denoise, solver.decode(denoise, (x, x), grid), grid)
        for state in start:
            torch.testing.assert_close(state, x, rtol=0, atol=1e-8)
        image = noise()
        again = solver.decode(denoise, solver.invert(denoise, (image, image), grid), grid)
        for state in again:
            torch.testing.assert_close(state, image, rtol=0, atol=1e-8)


@pytest.mark.parametrize("coordinates", COORDINATES)
def test_round_trip_in_single_precision(denoise, noise, karras: Make, coordinates: str) -> None:
    """In units of the noise, without mixing."""
    grid, unit = karras(6), math.sqrt(101)
    x = noise(torch.float32) * 10 / unit

    def scaled(x: Tensor, sigma: float) -> Tensor:
        return denoise(x * unit, sigma) / unit

    solver = EDICT(p=1.0, coordinates=coordinates)
    for state in solver.invert(scaled, solver.decode(scaled, (x, x), grid), grid):
        assert float((state - x).abs().max()) < 1e-5


@pytest.mark.parametrize("p", [1.0, 0.93])
def test_declared_order_is_measured(denoise, noise, uneven: Make, p: float) -> None:
    solver, x = EDICT(p=p), 2 * noise()
    assert solver.declared_order == 1
    assert EDICT(coordinates="ve").declared_order is None
    ends = [solver.integrate(denoise, x, uneven(n, 2.0, 0.1), None) for n in (128, 256, 512)]
    measured = math.log2(float((ends[0] - ends[1]).norm() / (ends[1] - ends[2]).norm()))
    assert measured == pytest.approx(1, abs=0.15)


def test_budgets_and_parameters(denoise, noise, karras: Make) -> None:
    assert [EDICT().intervals(nfe) for nfe in (2, 4, 10)] == [1, 2, 5]
    for nfe, near in ((1, "2"), (3, "2 or 4"), (9, "8 or 10")):
        with pytest.raises(Unsupported, match=f"two evaluations; use nfe {near}$"):
            EDICT().intervals(nfe)
    assert EDICT().p == 0.93
    levels: list[float] = []

    def noted(x: Tensor, sigma: float) -> Tensor:
        levels.append(sigma)
        return denoise(x, sigma)

    x, grid = 10 * noise(), karras(3, "zero")
    kept = x.clone()
    pair = EDICT().decode(noted, (x, x), grid)
    EDICT().invert(noted, pair, grid)
    assert levels == [level for level in [*grid.nodes[:-1], *grid.nodes[-2::-1]] for _ in range(2)]
    assert torch.equal(x, kept)
    for spec in ("p=0", "p=1.1", "coordinates=x"):
        with pytest.raises(UsageError):
            create("method", f"edict[{spec}]")
