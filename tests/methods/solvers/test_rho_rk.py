"""rhoRK: Butcher's order conditions, closed forms, its count of evaluations and EDM's Heun method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from bench.api import Denoiser, Problem, Unsupported
from bench.convergence import GRIDS, measured_order
from bench.errors import UsageError
from bench.grids import Grid
from bench.process import EDM
from bench.registry import create
from bench.rng import SampleNoise
from methods.solvers.heun import Heun
from methods.solvers.rho_rk import SHORTER, TABLEAUS, RhoRK

Make = Callable[..., Grid]
STAGES = {
    "midpoint": 2, "heun2": 2, "kutta3": 3, "heun3": 3, "ralston3": 3, "houwen3": 3, "ssp3": 3, "rk4": 4,
}  # fmt: skip


class Noted:
    """The teacher, with the levels it was asked for."""

    def __init__(self, denoise: Callable[..., Tensor]) -> None:
        self.denoise, self.levels = denoise, []

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        assert sigma > 0
        self.levels.append(sigma)
        return self.denoise(x, sigma)


def problem(denoise: Denoiser, x: Tensor) -> Problem:
    def no_student(weights: Mapping[str, Tensor]) -> nn.Module:
        raise AssertionError

    return Problem(denoise, x, SampleNoise(("t", 0, "m"), range(8), (2,)), EDM(), 0.02, 10.0, {}, no_student, create)


def matrices(tableau: tuple) -> tuple[Tensor, Tensor, Tensor]:
    rows, b = tableau
    a = torch.zeros(len(b), len(b), dtype=torch.float64)
    for i, row in enumerate(rows, start=1):
        a[i, : len(row)] = torch.tensor(row, dtype=torch.float64)
    return a, torch.tensor(b, dtype=torch.float64), a.sum(1)


@pytest.mark.parametrize(("name", "tableau"), [*TABLEAUS.items(), *((str(len(t[1])), t) for t in SHORTER)])
def test_order_conditions(name: str, tableau: tuple) -> None:
    """Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, Table II.2.1."""
    a, b, c = matrices(tableau)
    order = len(b)
    sums = {
        1: [(b.sum(), 1)],
        2: [(b @ c, 1 / 2)],
        3: [(b @ c**2, 1 / 3), (b @ a @ c, 1 / 6)],
        4: [(b @ c**3, 1 / 4), (b @ (c * (a @ c)), 1 / 8), (b @ a @ c**2, 1 / 12), (b @ a @ a @ c, 1 / 24)],
    }
    for p, conditions in sums.items():
        for found, wanted in conditions if p <= order else []:
            assert float(found) == pytest.approx(wanted, rel=1e-14)


def test_the_methods_are_told_apart_by_their_nodes() -> None:
    """Names belong to tableaus: the nodes c of each, from the literature."""
    nodes = {name: [round(sum(row), 6) for row in TABLEAUS[name][0]] for name in TABLEAUS}
    assert nodes == {
        "midpoint": [0.5], "heun2": [1.0], "kutta3": [0.5, 1.0], "heun3": [0.333333, 0.666667],
        "ralston3": [0.5, 0.75], "houwen3": [0.533333, 0.666667], "ssp3": [1.0, 0.5], "rk4": [0.5, 0.5, 1.0],
    }  # fmt: skip
    assert tuple(TABLEAUS) == get_args(RhoRK.model_fields["tableau"].annotation)
    assert [len(tableau[1]) for tableau in SHORTER] == [1, 2, 3]
    assert {name: RhoRK(tableau=name).stages for name in TABLEAUS} == STAGES


@pytest.mark.parametrize("name", TABLEAUS)
def test_a_step_of_a_linear_equation_is_a_taylor_polynomial(name: str) -> None:
    """eps = r x for a constant r: with as many stages as the order p, ``x_t = sum_{k<=p} (r h)^k / k! x``."""
    r, h = 0.4, -1.5
    grid = Grid(torch.tensor([4.0, 2.5], dtype=torch.float64), EDM())
    x = torch.full((2, 3), 1.7, dtype=torch.float64)
    end = RhoRK(tableau=name).integrate(lambda x, sigma: x - sigma * r * x, x, grid, None)
    taylor, term = 0.0, 1.0
    for k in range(STAGES[name] + 1):
        taylor += term
        term *= r * h / (k + 1)
    torch.testing.assert_close(end, x * taylor, rtol=1e-13, atol=0)


@pytest.mark.parametrize("name", TABLEAUS)
def test_quadrature_is_exact(uneven: Make, name: str) -> None:
    grid, k = uneven(5), STAGES[name] - 1
    x = torch.full((2, 3), 1.7, dtype=torch.float64)
    end = RhoRK(tableau=name).integrate(lambda x, sigma: x - sigma * sigma**k, x, grid, None)
    exact = x + (grid.nodes[-1] ** (k + 1) - grid.nodes[0] ** (k + 1)) / (k + 1)
    torch.testing.assert_close(end, exact, rtol=1e-12, atol=0)


@pytest.mark.parametrize("end", ["zero", "sigma_min", "append"])
def test_heun2_is_heun(denoise, noise, karras: Make, end: str) -> None:
    grid, x = karras(5, end), 10 * noise()
    theirs = Heun().integrate(denoise, x, grid, None)
    torch.testing.assert_close(RhoRK(tableau="heun2").integrate(denoise, x, grid, None), theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("name", ["midpoint", "kutta3", "rk4"])
def test_declared_order_is_measured(name: str, kind: str) -> None:
    solver = RhoRK(tableau=name)
    assert solver.declared_order == STAGES[name]
    assert measured_order(solver, kind) == pytest.approx(STAGES[name], abs=0.15)


@pytest.mark.parametrize("end", ["zero", "sigma_min"])
@pytest.mark.parametrize("name", ["heun2", "kutta3", "rk4"])
def test_full_steps_or_refusal(denoise, noise, name: str, end: str) -> None:
    s, saved = STAGES[name], int(end == "zero")
    solver, x = create("method", f"rho_rk[tableau={name},grid=karras[end={end}]]"), 10 * noise()
    for nfe in range(1, 14):
        steps, rest = divmod(nfe - saved, s)
        if rest:
            near = f"{nfe - rest} or {nfe - rest + s}" if nfe > rest else f"{s}"
            with pytest.raises(Unsupported, match=f"use nfe {near}, or fill=true"):
                solver.intervals(nfe)
            continue
        noted = Noted(denoise)
        assert solver.intervals(nfe) == steps + saved
        sampled = solver.sample(problem(noted, x), nfe)
        assert len(noted.levels) == nfe
        grid = problem(noted, x).grid(solver.grid, steps + saved)
        torch.testing.assert_close(sampled, solver.integrate(denoise, x, grid, None), rtol=0, atol=0)


def test_the_refusal_says_what_steps_cost() -> None:
    with pytest.raises(Unsupported, match=r"take 3 \(N - 1\) \+ 1 evaluations"):
        RhoRK().intervals(3)
    with pytest.raises(Unsupported, match="take 3 N evaluations"):
        create("method", "rho_rk[grid=karras[end=sigma_min]]").intervals(4)


@pytest.mark.parametrize("end", ["zero", "sigma_min"])
@pytest.mark.parametrize("name", TABLEAUS)
def test_fill_spends_any_budget(denoise, noise, name: str, end: str) -> None:
    """Full steps, one shorter, and Euler's where the grid ends in 0; each part is the method of its name."""
    s, saved, x = STAGES[name], int(end == "zero"), 10 * noise()
    shorter = [None, "euler", "midpoint", "kutta3"]
    for nfe in range(1, 11):
        solver = create("method", f"rho_rk[tableau={name},fill=true,grid=karras[end={end}]]")
        noted = Noted(denoise)
        sampled = solver.sample(problem(noted, x), nfe)
        assert len(noted.levels) == nfe
        full, rest = divmod(nfe - saved, s)
        parts = [name] * full + [shorter[rest]] * (rest > 0) + ["euler"] * saved
        assert solver.intervals(nfe) == len(parts)
        grid = problem(noted, x).grid(solver.grid, len(parts))
        state = x
        for part, (sigma_s, sigma_t) in zip(parts, grid.steps(), strict=True):
            if part == "euler":
                state = state + (sigma_t - sigma_s) * (state - denoise(state, sigma_s)) / sigma_s
            else:
                step = Grid(torch.tensor([sigma_s, sigma_t], dtype=torch.float64), EDM())
                state = RhoRK(tableau=part).integrate(denoise, state, step, None)
        torch.testing.assert_close(sampled, state, rtol=1e-12, atol=1e-12)


def test_levels_of_a_step(denoise, noise) -> None:
    noted = Noted(denoise)
    grid = Grid(torch.tensor([8.0, 2.0, 0.0], dtype=torch.float64), EDM())
    end = RhoRK(tableau="ssp3").integrate(noted, 10 * noise(), grid, None)
    assert noted.levels == [8.0, 2.0, 5.0, 2.0]
    assert end.shape == (8, 2)


def test_defaults_are_the_authors() -> None:
    assert (RhoRK().tableau, RhoRK().fill) == ("kutta3", False)


@pytest.mark.parametrize("spec", ["tableau=euler", "order=3", "fill=yes please"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"rho_rk[{spec}]")
