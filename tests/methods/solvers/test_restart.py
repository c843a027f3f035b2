"""Restart against its main solver, moments of a Gaussian and the plan of a budget; the authors' code is in parity."""

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
from methods.solvers.ddim import DDIM
from methods.solvers.heun import Heun
from methods.solvers.restart import Restart

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


class NoNoise:
    def normal(self) -> Tensor:
        raise AssertionError("drew noise")


def moments(solver: Restart, grid: Grid, mean: float, var: float) -> tuple[float, float, int, list[float]]:
    """Mean and variance of the result for a Gaussian start, exact, the number of draws, and the levels asked for."""
    x = torch.full((12, 1), mean, dtype=torch.float64)
    x[1] += 1
    noise, levels = Impulses(x), []

    def noted(x: Tensor, sigma: float) -> Tensor:
        levels.append(sigma)
        return gaussian(x, sigma)

    out = solver.integrate(noted, x, grid, noise)[:, 0]
    response = out[1:] - out[0]
    return float(out[0]), float(var * response[0] ** 2 + response[1:].square().sum()), noise.drawn, levels


def factor(base: str, high: float, low: float) -> float:
    """What a step multiplies the deviation from MEAN with."""
    first, last = (sigma / (STD**2 + sigma**2) for sigma in (high, low))
    euler = 1 + (low - high) * first
    return euler if base == "euler" or low == 0 else 1 + (low - high) / 2 * (first + last * euler)


def stretch(n: int, high: float, low: float) -> list[float]:
    """n levels, evenly spaced in ``sigma^{1/7}``."""
    return [(high ** (1 / 7) + i / (n - 1) * (low ** (1 / 7) - high ** (1 / 7))) ** 7 for i in range(n)]


# restarts, and the jumps (points, repeats, level, t_max) that they make on the grid 10, 4, 1.5, 0.4, 0.1
PLANS = {
    "3:1:0.06:1": [(3, 1, 0.1, 1.0)],
    "2:3:0.3:1.2": [(2, 3, 0.4, 1.2)],
    "4:2:0.1:0.5/5:1:3.5:10": [(4, 2, 0.1, 0.5), (5, 1, 4.0, 10.0)],
    "3:1:0.45:0.9/2:2:0.3:2": [(3, 1, 0.4, 0.9), (2, 2, 0.4, 2.0)],  # one level, in the order given
    "2:1:9.5:10": [(2, 1, 4.0, 10.0)],  # the first level is where everything starts
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("end", ["0.1", "0"])
def test_moments_of_a_gaussian_step_by_step(base: str, plan: str, end: str) -> None:
    nodes = [10.0, 4.0, 1.5, 0.4, 0.1] + ([0.0] if end == "0" else [])
    spec = f"restart[base={base},restarts={plan},s_noise=1.2,grid=user[sigmas={'/'.join(map(str, nodes))}]]"
    solver = create("method", spec)
    mean, var, draws, calls = 1.3, 90.0, 0, 0
    cost = 2 if base == "heun" else 1
    for high, low in itertools.pairwise(nodes):
        gain = factor(base, high, low)
        mean, var, calls = MEAN + gain * (mean - MEAN), gain**2 * var, calls + (cost if low else 1)
        for points, repeats, level, top in PLANS[plan]:
            for _ in range(repeats if level == low else 0):
                var, draws = var + 1.2**2 * (top**2 - level**2), draws + 1
                levels = stretch(points, top, level)
                for upper, lower in itertools.pairwise(levels):
                    gain = factor(base, upper, lower)
                    mean, var, calls = MEAN + gain * (mean - MEAN), gain**2 * var, calls + cost
    found = moments(solver, Grid(torch.tensor(nodes, dtype=torch.float64), EDM()), 1.3, 90.0)
    assert found[:2] == pytest.approx((mean, var), rel=1e-9)
    assert found[2] == draws
    assert len(found[3]) == calls
    assert solver.intervals(calls) == len(nodes) - 1
    assert max(found[3]) == 10.0


@pytest.mark.parametrize("end", ["sigma_min", "zero"])
def test_without_repeats_it_is_the_main_solver(denoise, noise, karras: Make, end: str) -> None:
    for n in (1, 2, 7):
        grid, x = karras(n, end), 10 * noise()
        for base, other, order in (("heun", Heun(), 2), ("euler", DDIM(), 1)):
            solver = Restart(base=base, restarts="3:0:0.06:1")
            assert solver.declared_order == order
            theirs = other.integrate(denoise, x, grid, NoNoise())
            torch.testing.assert_close(solver.integrate(denoise, x, grid, NoNoise()), theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("base", "order"), [("heun", 2), ("euler", 1)])
def test_the_variance_converges_with_the_order_of_the_ode_solver(uneven: Make, base: str, order: int) -> None:
    """All stretches are refined together."""
    high, low = 5.0, 0.05
    errors = []
    for n in (64, 128, 256):
        solver = Restart(base=base, restarts=f"{n // 2 + 1}:2:0.06:1", s_noise=1.0)
        assert solver.declared_order is None
        grid = uneven(n, high, low)
        found = moments(solver, grid, MEAN, STD**2 + high**2)
        errors.append(abs(found[1] - STD**2 - low**2))
    assert math.log2(errors[0] / errors[2]) / 2 == pytest.approx(order, abs=0.15)


def test_jumps_contract_an_error() -> None:
    """A wrong mean at the restart's level is forgotten more with every repeat; alone, the ODE keeps it."""
    nodes = [5.0, 0.1, 0.05]
    grid = Grid(torch.tensor(nodes, dtype=torch.float64), EDM())
    left = [
        abs(moments(Restart(restarts=f"40:{k}:0.1:3", s_noise=1.0), grid, 3.0, 1.0)[0] - MEAN) for k in range(4)
    ]  # fmt: skip
    ratio = math.hypot(STD, 0.1) / math.hypot(STD, 3.0)  # what the exact flow from 3 to 0.1 does to a deviation
    for more, fewer in zip(left[1:], left[:-1], strict=True):
        assert more / fewer == pytest.approx(ratio, rel=0.01)


@pytest.mark.parametrize(("spec", "works", "refused"), [
    ("", {9: 3, 11: 4, 13: 5}, {1: "7", 6: "7", 8: "7 or 9", 10: "9 or 11"}),
    ("base=euler", {4: 2, 5: 3, 8: 6}, {1: "4", 3: "4"}),
    ("base=euler,restarts=4:5:0.06:1", {17: 2, 30: 15}, {16: "17"}),
    ("restarts=3:2:0.06:0.3/2:1:1:2", {13: 2, 15: 3}, {12: "13", 14: "13 or 15"}),
    ("grid=karras[end=sigma_min]", {6: 1, 8: 2}, {1: "6", 5: "6", 7: "6 or 8"}),
    ("base=euler,grid=karras[end=sigma_min]", {3: 1, 4: 2}, {2: "3"}),
    ("restarts=3:0:0.06:1", {1: 1, 3: 2}, {2: "1 or 3"}),
    ("base=euler,restarts=3:0:0.06:1", {1: 1, 2: 2}, {}),
])  # fmt: skip
def test_how_a_budget_is_divided(spec: str, works: dict[int, int], refused: dict[int, str]) -> None:
    solver = create("method", f"restart[{spec}]")
    assert {nfe: solver.intervals(nfe) for nfe in works} == works
    for nfe, near in refused.items():
        with pytest.raises(Unsupported, match=f"use nfe {near}$"):
            solver.intervals(nfe)


@pytest.mark.parametrize(("spec", "says"), [
    ("", "take 4 evaluations, the rest 2N - 1 with N >= 2;"),
    ("base=euler", "take 2 evaluations, the rest N with N >= 2;"),
    ("grid=karras[end=sigma_min]", "take 4 evaluations, the rest 2N with N >= 1;"),
])  # fmt: skip
def test_a_refusal_says_what_is_spent(spec: str, says: str) -> None:
    with pytest.raises(Unsupported, match=says):
        create("method", f"restart[{spec}]").intervals(1)


@pytest.mark.parametrize("nodes", [[10.0, 0.0], [10.0, 1.0, 0.0], [0.9, 0.1], [10.0, 1.0]])
def test_a_grid_without_a_level_to_restart_from_is_refused(denoise, noise, nodes: list[float]) -> None:
    grid = Grid(torch.tensor(nodes, dtype=torch.float64), EDM())
    with pytest.raises(
        Unsupported, match=r"no level to restart from below t_max = 1, nearest to 0\.06; use a larger nfe"
    ):
        Restart().integrate(denoise, noise(), grid, NoNoise())


def test_levels_right_at_the_bounds_are_allowed() -> None:
    grid = Grid(torch.tensor([1.0, 0.999, 0.0], dtype=torch.float64), EDM())
    assert moments(Restart(), grid, 1.0, 1.0)[2] == 1


@pytest.mark.parametrize(("plan", "says"), [
    ("3:1:0.06", "is n:K:t_min:t_max"),
    ("3:1:0.06:1:2", "is n:K:t_min:t_max"),
    ("3:x:0.06:1", "is n:K:t_min:t_max"),
    ("1:1:0.06:1", "n >= 2"),
    ("3:-1:0.06:1", "K >= 0"),
    ("3:1:0:1", "0 < t_min < t_max"),
    ("3:1:1:1", "0 < t_min < t_max"),
    ("3:1:1:inf", "0 < t_min < t_max"),
    ("3:1:nan:1", "0 < t_min < t_max"),
    ("3:1:0.06:1/1:1:0.06:1", "n >= 2"),
])  # fmt: skip
def test_a_plan_that_cannot_be_read_is_refused(plan: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        create("method", f"restart[restarts={plan}]")


def test_other_bad_parameters_are_refused() -> None:
    for spec in ("base=x", "s_noise=-1"):
        with pytest.raises(UsageError):
            create("method", f"restart[{spec}]")
    assert Restart() == Restart(base="heun", restarts="3:1:0.06:1", s_noise=1.003)


def test_added_noise_may_be_left_out() -> None:
    assert create("method", "restart[s_noise=0]").s_noise == 0
