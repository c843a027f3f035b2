"""PNDM: its count of evaluations, polynomials it integrates exactly, and the levels it asks for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.convergence import GRIDS, measured_order
from bench.errors import UsageError
from bench.grids import Grid, make_grid
from bench.process import EDM, VPLinear
from bench.registry import create
from methods.solvers.ipndm import IPNDM
from methods.solvers.pndm import PNDM

Make = Callable[..., Grid]
VARIANTS = ("fpndm", "spndm", "plms")
BUDGETS = {
    ("fpndm", "zero"): [1, 5, 9, 13, 14, 15],
    ("fpndm", "sigma_min"): [4, 8, 12, 13, 14, 15],
    ("spndm", "zero"): [1, 3, 4, 5, 6, 7],
    ("spndm", "sigma_min"): [2, 3, 4, 5, 6, 7],
    ("plms", "zero"): [1, 3, 4, 5, 6, 7],
    ("plms", "sigma_min"): [1, 3, 4, 5, 6, 7],
}


class Noted:
    """The teacher, with the levels it was asked for."""

    def __init__(self, denoise: Callable[..., Tensor]) -> None:
        self.denoise, self.levels = denoise, []

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        assert sigma > 0
        self.levels.append(sigma)
        return self.denoise(x, sigma)


@pytest.mark.parametrize(("variant", "end"), BUDGETS)
def test_steps_cost_what_they_say(denoise, noise, karras: Make, variant: str, end: str) -> None:
    budgets = BUDGETS[variant, end]
    solver = create("method", f"pndm[variant={variant},grid=karras[end={end}]]")
    for steps, nfe in enumerate(budgets, start=1):
        noted = Noted(denoise)
        solver.integrate(noted, 10 * noise(), karras(steps, end), None)
        assert len(noted.levels) == nfe
        assert solver.intervals(nfe) == steps
    for nfe in set(range(1, budgets[-1])) - set(budgets):
        below = max((b for b in budgets if b < nfe), default=0)
        above = min(b for b in budgets if b > nfe)
        near = f"use nfe {below} or {above}$" if below else f"use nfe {above}$"
        with pytest.raises(Unsupported, match=near):
            solver.intervals(nfe)


def test_default_works_at_one_evaluation(denoise, noise) -> None:
    assert (PNDM().variant, PNDM().grid, PNDM().intervals(1)) == ("plms", "vp_uniform", 1)
    grid, x = Grid(torch.tensor([10.0, 0.0], dtype=torch.float64), EDM()), 10 * noise()
    for variant in VARIANTS:
        torch.testing.assert_close(PNDM(variant=variant).integrate(denoise, x, grid, None), denoise(x, 10.0))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
@pytest.mark.parametrize(("variant", "degree"), [("fpndm", 3), ("spndm", 1), ("plms", 1)])
def test_equal_steps_are_exact_for_polynomials(variant: str, degree: int, n: int) -> None:
    """A noise prediction sigma^k for every state: the start and the multistep formula are both exact for it."""
    grid = Grid(torch.linspace(5, 1, n + 1, dtype=torch.float64), EDM())
    x = torch.full((2, 3), 1.5, dtype=torch.float64)
    exact = x + (grid.nodes[-1] ** (degree + 1) - grid.nodes[0] ** (degree + 1)) / (degree + 1)

    def end(power: int) -> Tensor:
        return PNDM(variant=variant).integrate(lambda x, s: x - s * s**power, x, grid, None)

    if not (variant == "plms" and n == 1):  # whose single step is Euler's
        torch.testing.assert_close(end(degree), exact, rtol=1e-12, atol=1e-12)
        assert float((end(degree + 1) - exact).abs().max()) > 1e-3


def weighted(weights: list[float], values: list[Tensor]) -> Tensor:
    return sum(w * v for w, v in zip(weights, values, strict=True))


@pytest.mark.parametrize("process", [EDM(), VPLinear()], ids=lambda p: p.name)
@pytest.mark.parametrize("end", ["zero", "sigma_min"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_formulas(denoise, noise, variant: str, end: str, process) -> None:
    """Step by step as the paper writes them, on uneven steps and with a noise prediction that depends on the state."""
    bashforth = {2: [1.5, -0.5], 3: [23 / 12, -16 / 12, 5 / 12], 4: [55 / 24, -59 / 24, 37 / 24, -9 / 24]}
    for n in (2, 3, 7):
        grid, x = make_grid(f"time_uniform[end={end}]", n, 0.02, 10.0, process), 10 * noise()

        def e(x: Tensor, sigma: float) -> Tensor:
            return (x - denoise(x, sigma)) / sigma

        state, past = x, []
        for i, (s, t) in enumerate(grid.steps()):
            past = [e(state, s), *past][: 2 if variant == "spndm" else 4]
            if variant == "fpndm" and i < 3 and t > 0:
                m = float(process.sigma((grid.t[i] + grid.t[i + 1]) / 2))
                e_2 = e(state + (m - s) * past[0], m)
                e_3 = e(state + (m - s) * e_2, m)
                e_4 = e(state + (t - s) * e_3, t)
                mean = (past[0] + 2 * e_2 + 2 * e_3 + e_4) / 6
            elif variant != "fpndm" and i == 0:
                mean = (past[0] + e(state + (t - s) * past[0], t)) / 2
            else:
                mean = weighted(bashforth[len(past)], past)
            state = state + (t - s) * mean
        ours = PNDM(variant=variant).integrate(denoise, x, grid, None)
        torch.testing.assert_close(ours, state, rtol=1e-11, atol=1e-11)


def test_halfway_is_in_the_teachers_time(denoise, noise) -> None:
    vp = make_grid("time_uniform[end=sigma_min]", 1, 0.02, 10.0, VPLinear())
    noted = Noted(denoise)
    PNDM(variant="fpndm").integrate(noted, 10 * noise(), vp, None)
    middle = float(vp.process.sigma(vp.t.mean()))
    assert noted.levels == pytest.approx([10.0, middle, middle, 0.02])
    assert abs(middle - 5.01) > 1


def test_history_after_the_start_is_that_of_ipndm(denoise, noise, karras: Make) -> None:
    """With a noise prediction that never changes with the state, only the start differs from iPNDM."""
    grid, x = karras(8), torch.zeros(1, 2, dtype=torch.float64)

    def fixed(x: Tensor, sigma: float) -> Tensor:
        return x - sigma * torch.tensor([[sigma**0.5, 1 / sigma]], dtype=torch.float64)

    def tail(solver: PNDM | IPNDM) -> Tensor:
        start = Grid(grid.sigma[:4], EDM())
        return solver.integrate(fixed, x, grid, None) - solver.integrate(fixed, x, start, None)

    for variant in ("fpndm", "plms"):
        torch.testing.assert_close(tail(PNDM(variant=variant)), tail(IPNDM()), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(tail(PNDM(variant="spndm")), tail(IPNDM(order=2)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_declared_order_is_measured(variant: str, kind: str) -> None:
    solver = PNDM(variant=variant)
    assert solver.declared_order == 2
    assert measured_order(solver, kind) == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("spec", ["variant=pndm", "order=4", "skip_prk=true"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"pndm[{spec}]")
