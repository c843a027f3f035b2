"""RES: stiff order conditions, measured orders, its relations to DPM-Solver++, budgets."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.convergence import GRIDS, measured_order
from bench.errors import UsageError
from bench.grids import Grid, make_grid
from bench.process import EDM
from bench.registry import create
from methods.solvers.dpm_solver_pp import DPMSolverPP
from methods.solvers.dpm_solver_pp_single import DPMSolverPPSingle
from methods.solvers.res import RES

Make = Callable[..., Grid]


class Task:
    """As much of a problem as a solver looks at, with a counted denoiser and no noise."""

    def __init__(self, model: Callable[[Tensor, float], Tensor], x: Tensor) -> None:
        self.model = model
        self.x = x
        self.noise = self
        self.calls: list[float] = []

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        self.calls.append(sigma)
        return self.model(x, sigma)

    def normal(self) -> Tensor:
        raise AssertionError("RES is deterministic")

    def grid(self, spec: str, intervals: int) -> Grid:
        return make_grid(spec, intervals, 0.02, 10.0, EDM())


@pytest.mark.parametrize("solver", [RES(), RES(c=0.3), RES(c=1.0), RES(multistep=True)])
def test_declared_order_is_measured(solver: RES) -> None:
    assert solver.declared_order == 2
    for kind in GRIDS:
        assert measured_order(solver, kind, (64, 128, 256)) == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("c", [0.2, 0.5, 1.0])
def test_a_prediction_linear_in_lambda_is_integrated_exactly(c: float, uneven: Make) -> None:
    """The stiff order conditions, at any step size: exact for D = a + b lambda, which DPM-Solver++(2S) is not."""
    grid, a, b = uneven(2, 10.0, 0.01), 0.7, -0.3

    def model(x: Tensor, sigma: float) -> Tensor:
        return torch.full_like(x, a - b * math.log(sigma))

    def integral(sigma: float) -> float:  # of e^{lambda} (a + b lambda) dlambda
        return (a + b * (-math.log(sigma) - 1)) / sigma

    x = torch.full((2, 2), 3.0, dtype=torch.float64)
    task = Task(model, x)
    high, low = grid.nodes[0], grid.nodes[-1]
    expected = x * low / high + low * (integral(low) - integral(high))
    torch.testing.assert_close(RES(c=c).integrate(task.denoise, x, grid, task), expected, rtol=1e-11, atol=0)
    middle = grid.nodes[1] * (grid.nodes[2] / grid.nodes[1]) ** c
    assert task.calls[3] == pytest.approx(middle, rel=1e-13)
    plain = DPMSolverPPSingle().integrate(model, x, grid, task)
    assert not torch.allclose(plain, expected, rtol=1e-2)


def test_the_first_state_inside_a_step_is_exponential_euler() -> None:
    """D = x shows it: x_t = e^{-h} x + (1 - e^{-h} - b) x + b u with u = x."""
    x = torch.full((1, 1), 2.0, dtype=torch.float64)
    grid = Grid(torch.tensor([4.0, 1.0], dtype=torch.float64), EDM())
    for c in (0.5, 0.25):
        h, decay = math.log(4), 4**-c
        b = (1 - (1 - 0.25) / h) / c  # h phi_2(-h) / c
        u = decay * 2 + (1 - decay) * (2 / 5)  # D(x, 4) = x / 5
        expected = 0.5 + (0.75 - b) * 2 / 5 + b * u / (1 + 4 * decay)
        end = RES(c=c).integrate(lambda x, sigma: x / (1 + sigma), x, grid, Task(lambda x, _: x, x))
        assert float(end) == pytest.approx(expected, rel=1e-13)


def test_relations_to_dpm_solver_pp(denoise, noise, uneven: Make, karras: Make) -> None:
    for grid in (uneven(6), karras(5, "zero"), karras(1), karras(2)):
        x = grid.nodes[0] * noise()
        task = Task(denoise, x)
        single = DPMSolverPPSingle(solver_type="heun").integrate(denoise, x, grid, task)
        torch.testing.assert_close(RES().integrate(denoise, x, grid, task), single, rtol=1e-13, atol=1e-13)
        multi = DPMSolverPP(solver_type="heun").integrate(denoise, x, grid, task)
        ours = RES(multistep=True).integrate(denoise, x, grid, task)
        torch.testing.assert_close(ours, multi, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spec", ["", "multistep=true,", "plan=full,"])
@pytest.mark.parametrize("grid", ["karras", "karras[end=append]", "logsnr[end=sigma_min]"])
def test_every_budget_is_used_exactly(denoise, noise, spec: str, grid: str) -> None:
    solver = create("method", f"res[{spec}grid={grid}]")
    for nfe in range(1, 14):
        task = Task(denoise, 10 * noise())
        if spec == "plan=full," and nfe % 2 == 0 and grid != "logsnr[end=sigma_min]":
            with pytest.raises(Unsupported, match=f"order 2 at {nfe} evaluations"):
                solver.sample(task, nfe)
            continue
        assert bool(torch.isfinite(solver.sample(task, nfe)).all())
        assert len(task.calls) == nfe


def test_integrate_has_order_2_but_for_the_step_to_zero(denoise, noise, karras: Make) -> None:
    for solver, end, expected in (
        (RES(), "sigma_min", 8),
        (RES(), "zero", 7),
        (RES(multistep=True), "sigma_min", 4),
        (RES(multistep=True), "zero", 4),
    ):
        task = Task(denoise, 10 * noise())
        solver.integrate(task.denoise, task.x, karras(4, end), task)
        assert len(task.calls) == expected


def test_plans() -> None:
    assert RES().orders(6) == [2, 2, 1, 1]
    assert RES(plan="full").orders(6) == [2, 2, 2]
    assert (RES().intervals(6), RES(plan="full").intervals(5), RES(multistep=True).intervals(6)) == (4, 3, 6)


@pytest.mark.parametrize("spec", ["c=0", "c=1.5", "plan=slow", "multistep=2", "order=2"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"res[{spec}]")
