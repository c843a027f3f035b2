"""DPM-Solver against closed forms and measured orders; other implementations are in ``bench.parity``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.errors import UsageError
from bench.grids import Grid, make_grid
from bench.process import EDM
from bench.registry import create
from methods.solvers.dpm_solver import DPMSolver

Make = Callable[..., Grid]
BUDGETS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 20)


class NoNoise:
    def normal(self) -> Tensor:
        raise AssertionError("DPM-Solver is deterministic")


@dataclass
class Task:
    """As much of a problem as a solver looks at, with a counted denoiser."""

    model: Callable[[Tensor, float], Tensor]
    x: Tensor
    noise: NoNoise
    calls: int = 0

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        self.calls += 1
        return self.model(x, sigma)

    def grid(self, spec: str, intervals: int) -> Grid:
        return make_grid(spec, intervals, 0.02, 10.0, EDM())


@pytest.mark.parametrize("order", [1, 2, 3])
def test_declared_order_is_measured(denoise, noise, uneven: Make, order: int) -> None:
    solver, x = DPMSolver(order=order), 2 * noise()
    assert solver.declared_order == order
    ends = [solver.integrate(denoise, x, uneven(n, 2.0, 0.1), NoNoise()) for n in (64, 128, 256)]
    measured = math.log2(float((ends[0] - ends[1]).norm() / (ends[1] - ends[2]).norm()))
    assert measured == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("grid", ["karras", "karras[end=append]", "logsnr[end=sigma_min]"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_every_budget_is_used_exactly(denoise, noise, order: int, grid: str) -> None:
    for nfe in range(1, 21):
        task = Task(denoise, 10 * noise(), NoNoise())
        end = DPMSolver(order=order, grid=grid).sample(task, nfe)
        assert task.calls == nfe
        assert bool(torch.isfinite(end).all())


def test_plans() -> None:
    assert [DPMSolver(order=3).orders(n) for n in range(1, 9)] == [
        [1], [1, 1], [2, 1], [3, 1], [3, 1, 1], [3, 2, 1], [3, 3, 1], [3, 3, 1, 1],
    ]  # fmt: skip
    # the authors' lists
    assert [DPMSolver(order=3, plan="fast").orders(n) for n in range(1, 9)] == [
        [1], [2], [2, 1], [3, 1], [3, 2], [3, 2, 1], [3, 3, 1], [3, 3, 2],
    ]  # fmt: skip
    assert [DPMSolver(order=2, plan="fast").orders(n) for n in range(1, 6)] == [[1], [2], [2, 1], [2, 2], [2, 2, 1]]
    assert [DPMSolver(order=2).orders(n) for n in range(1, 6)] == [[1], [1, 1], [2, 1], [2, 1, 1], [2, 2, 1]]


def test_fast_says_when_it_cannot_end_at_zero(denoise, noise) -> None:
    task = Task(denoise, 10 * noise(), NoNoise())
    solver = DPMSolver(order=3, plan="fast")
    with pytest.raises(Unsupported, match="order 2 at 5 evaluations"):
        solver.sample(task, 5)
    assert task.calls == 0
    solver.sample(task, 6)
    assert task.calls == 6


def test_integrate_has_full_order_but_for_the_step_to_zero(denoise, noise, karras: Make) -> None:
    for order in (1, 2, 3):
        for end, expected in (("sigma_min", 4 * order), ("zero", 3 * order + 1)):
            task = Task(denoise, 10 * noise(), NoNoise())
            DPMSolver(order=order).integrate(task.denoise, task.x, karras(4, end), NoNoise())
            assert task.calls == expected


@pytest.mark.parametrize("order", [2, 3])
def test_noise_linear_in_the_right_variable_is_exact(order: int, uneven: Make) -> None:
    """Order 3 integrates eps = a + b lambda exactly; order 2, for which only a is, integrates constants."""
    a, b = 0.7, -0.3 if order == 3 else 0.0
    x = torch.full((2, 2), 3.0, dtype=torch.float64)
    grid = uneven(6)

    def integral(sigma: float) -> float:  # of (a - b log sigma) dsigma
        return a * sigma - b * (sigma * math.log(sigma) - sigma)

    end = DPMSolver(order=order).integrate(lambda x, s: x - s * (a - b * math.log(s)), x, grid, NoNoise())
    expected = x + integral(grid.nodes[-1]) - integral(grid.nodes[0])
    torch.testing.assert_close(end, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("spec", ["order=4", "plan=slow", "r=0.5"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"dpm_solver[{spec}]")
