"""Adams-Bashforth-Moulton against numpy's polynomials, polynomials it integrates exactly, DEIS and iPNDM."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.convergence import GRIDS, measured_order
from bench.errors import UsageError
from bench.grids import Grid
from bench.process import EDM
from bench.registry import create
from methods.solvers.ab import AB
from methods.solvers.deis import DEIS
from methods.solvers.ipndm import IPNDM

COORDINATES = ("sigma", "flow")
ENDS = ("zero", "sigma_min")
Make = Callable[..., Grid]


def integral(u: list[float], slopes: list[Tensor], start: float, end: float) -> Tensor:
    """Of the polynomial through the slopes at u, by numpy's least squares."""
    values = np.stack([slope.numpy().ravel() for slope in slopes])
    fitted = [np.polynomial.Polynomial.fit(u, column, len(u) - 1, domain=[0, u[0]]).integ() for column in values.T]
    return torch.tensor([float(p(end) - p(start)) for p in fitted], dtype=torch.float64).view_as(slopes[0])


def reference(solver: AB, denoise: Callable[..., Tensor], x: Tensor, grid: Grid) -> Tensor:
    """Predict, evaluate, correct, in the words of a textbook."""
    flow = solver.coordinate == "flow"
    u = [s / (1 + s) if flow else s for s in grid.nodes]
    y = [x / (1 + grid.nodes[0]) if flow else x]
    slopes: list[Tensor] = []
    for i, sigma in enumerate(grid.nodes[:-1]):
        state = y[i] * (1 + sigma) if flow else y[i]
        eps = state / math.sqrt(1 + sigma**2) if solver.afs and i == 0 else (state - denoise(state, sigma)) / sigma
        slopes.append(eps - (state - sigma * eps) if flow else eps)
        if solver.corrector and i > 0:
            first = max(0, i - solver.order)
            y[i] = y[i - 1] + integral(u[first : i + 1], slopes[first:], u[i - 1], u[i])
        first = max(0, i + 1 - solver.order)
        y.append(y[i] + integral(u[first : i + 1], slopes[first:], u[i], u[i + 1]))
    return y[-1] * (1 + grid.nodes[-1]) if flow else y[-1]


@pytest.mark.parametrize("afs", [False, True])
@pytest.mark.parametrize("corrector", [False, True])
@pytest.mark.parametrize("coordinate", COORDINATES)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_is_the_textbook(denoise, noise, uneven: Make, order: int, coordinate: str, corrector: bool, afs: bool) -> None:
    solver = AB(order=order, coordinate=coordinate, corrector=corrector, afs=afs)
    for n in (1, 2, 7):
        grid = uneven(n)
        ended = Grid(torch.cat([grid.sigma[:-1], torch.zeros(1, dtype=torch.float64)]), EDM())
        for case in (grid, ended):
            ours = solver.integrate(denoise, 5 * noise(), case, None)
            torch.testing.assert_close(ours, reference(solver, denoise, 5 * noise(), case), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("coordinate", COORDINATES)
def test_is_exact_for_polynomials(uneven: Make, order: int, coordinate: str) -> None:
    """A slope u^k for every state: ``y_N - y_m = (u_N^{k+1} - u_m^{k+1}) / (k + 1)`` once the ramp is over."""
    grid, k, flow = uneven(9), order - 1, coordinate == "flow"

    def u(sigma: float) -> float:
        return sigma / (1 + sigma) if flow else sigma

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return (x - sigma * u(sigma) ** k) / (1 + sigma if flow else 1)

    def run(nodes: Tensor) -> Tensor:
        end = AB(order=order, coordinate=coordinate).integrate(denoise, x, Grid(nodes, EDM()), None)
        return end / (1 + float(nodes[-1])) if flow else end

    x = torch.full((1, 2), 3.0, dtype=torch.float64)
    ramp = run(grid.sigma[:order]) if order > 1 else (x / (1 + grid.nodes[0]) if flow else x)
    expected = ramp + (u(grid.nodes[-1]) ** (k + 1) - u(grid.nodes[order - 1]) ** (k + 1)) / (k + 1)
    torch.testing.assert_close(run(grid.sigma), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 10])
def test_is_rhoab_but_for_a_long_step_to_zero(denoise, noise, karras: Make, n: int) -> None:
    for end in ENDS:
        grid, x = karras(n, end), 10 * noise()
        rhoab = DEIS(variant="rhoab").integrate(denoise, x, grid, None)
        torch.testing.assert_close(AB().integrate(denoise, x, grid, None), rhoab, rtol=1e-10, atol=1e-10)
    far = Grid(torch.tensor([3.0, 2.5, 2.0, 0.0], dtype=torch.float64), EDM())
    gap = AB().integrate(denoise, x, far, None) - DEIS(variant="rhoab").integrate(denoise, x, far, None)
    assert float(gap.abs().max()) > 0.01


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_equal_steps_are_ipndm(denoise, noise, order: int) -> None:
    grid = Grid(torch.linspace(10, 1, 9, dtype=torch.float64), EDM())
    theirs = IPNDM(order=order).integrate(denoise, 10 * noise(), grid, None)
    torch.testing.assert_close(AB(order=order).integrate(denoise, 10 * noise(), grid, None), theirs)


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("coordinate", COORDINATES)
@pytest.mark.parametrize(("order", "corrector", "declared"), [(3, False, 3), (3, True, 4)])
def test_declared_order_is_measured(coordinate: str, order: int, corrector: bool, declared: int, kind: str) -> None:
    solver = AB(order=order, coordinate=coordinate, corrector=corrector)
    assert solver.declared_order == declared
    assert measured_order(solver, kind) == pytest.approx(declared, abs=0.15)


def test_what_is_not_declared() -> None:
    assert AB(order=4).declared_order is None
    assert AB(order=4, corrector=True).declared_order is None
    assert AB(order=2, afs=True).declared_order is None
    declared = [AB(order=order, corrector=c).declared_order for order in (1, 2, 3) for c in (False, True)]
    assert declared == [1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize("corrector", [False, True])
def test_one_evaluation_per_step(denoise, noise, karras: Make, corrector: bool) -> None:
    levels: list[float] = []

    def noted(x: Tensor, sigma: float) -> Tensor:
        levels.append(sigma)
        return denoise(x, sigma)

    grid = karras(5, "zero")
    AB(corrector=corrector).integrate(noted, 10 * noise(), grid, None)
    assert levels == grid.nodes[:-1]
    levels.clear()
    AB(corrector=corrector, afs=True).integrate(noted, 10 * noise(), grid, None)
    assert levels == grid.nodes[1:-1]
    assert (AB(afs=True).intervals(4), AB().intervals(4)) == (5, 4)


@pytest.mark.parametrize("coordinate", COORDINATES)
@pytest.mark.parametrize("corrector", [False, True])
def test_one_step_to_zero_is_the_prediction(denoise, noise, coordinate: str, corrector: bool) -> None:
    grid, x = Grid(torch.tensor([10.0, 0.0], dtype=torch.float64), EDM()), 10 * noise()
    solver = AB(coordinate=coordinate, corrector=corrector)
    torch.testing.assert_close(solver.integrate(denoise, x, grid, None), denoise(x, 10.0))
    single = solver.integrate(denoise, x.float(), grid, None)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), denoise(x, 10.0), rtol=1e-5, atol=1e-5)


def test_defaults_are_those_of_k_diffusion() -> None:
    assert (AB().order, AB().coordinate, AB().corrector, AB().afs) == (4, "sigma", False, False)


@pytest.mark.parametrize("spec", ["order=0", "order=5", "coordinate=lambda", "corrector=2", "eta=1"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"ab[{spec}]")
