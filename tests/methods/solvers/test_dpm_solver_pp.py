"""DPM-Solver++ against diffusers, k-diffusion, closed forms and measured orders."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor

from bench.errors import UsageError
from bench.grids import Grid
from bench.registry import create
from methods.solvers.dpm_solver_pp import DPMSolverPP

STEPS = (1, 2, 3, 5, 8, 10, 20)
Make = Callable[..., Grid]


class NoNoise:
    def normal(self) -> Tensor:
        raise AssertionError("DPM-Solver++ is deterministic")


@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("end", ["sigma_min", "zero"])
def test_is_diffusers(denoise, noise, karras: Make, diffusers_solve, order: int, solver_type: str, end: str) -> None:
    for n in STEPS:
        grid, x = karras(n, end), 10 * noise(torch.float32)
        config = {"solver_order": order, "solver_type": solver_type, "final_sigmas_type": end}
        theirs = diffusers_solve("DPMSolverMultistepScheduler", config, x, grid)
        solver = DPMSolverPP(order=order, solver_type=solver_type, lower_final=15)
        torch.testing.assert_close(solver.integrate(denoise, x, grid, NoNoise()), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", [2, 3])
def test_full_order_to_the_end_is_diffusers(denoise, noise, karras: Make, diffusers_solve, order: int) -> None:
    for n in STEPS:
        grid, x = karras(n), 10 * noise(torch.float32)
        config = {"solver_order": order, "lower_order_final": False, "final_sigmas_type": "sigma_min"}
        theirs = diffusers_solve("DPMSolverMultistepScheduler", config, x, grid)
        ours = DPMSolverPP(order=order).integrate(denoise, x, grid, NoNoise())
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("end", ["sigma_min", "append"])
def test_2m_is_k_diffusion(denoise, noise, karras: Make, k_sampling: ModuleType, end: str) -> None:
    for n in STEPS:
        grid, x = karras(n, end), 10 * noise()
        theirs = k_sampling.sample_dpmpp_2m(denoise, x, grid.sigma, disable=True)
        torch.testing.assert_close(DPMSolverPP().integrate(denoise, x, grid, NoNoise()), theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("solver", "slope"), [
    (DPMSolverPP(order=1), 1),
    (DPMSolverPP(order=2), 2),
    (DPMSolverPP(order=2, solver_type="heun"), 2),
    (DPMSolverPP(order=3), 2),
])  # fmt: skip
def test_declared_order_is_measured(denoise, noise, uneven: Make, solver: DPMSolverPP, slope: int) -> None:
    assert solver.declared_order == slope
    x = 2 * noise()
    ends = [solver.integrate(denoise, x, uneven(n, 2.0, 0.1), NoNoise()) for n in (128, 256, 512)]
    measured = math.log2(float((ends[0] - ends[1]).norm() / (ends[1] - ends[2]).norm()))
    assert measured == pytest.approx(slope, abs=0.15)


@pytest.mark.parametrize(("fix", "slope"), [(True, 3), (False, 2)])
def test_factor_two_makes_3m_third_order(denoise, noise, uneven: Make, fix: bool, slope: int) -> None:
    """Steps that double from 1/n^2 on keep the start from mattering."""

    def grid(n: int) -> Grid:
        sigma = uneven(n, 2.0, 0.1).nodes
        start, step = [sigma[0]], (sigma[0] - sigma[1]) / n
        while start[-1] - step > sigma[1]:
            start.append(start[-1] - step)
            step *= 2
        # the last added node would leave a sliver
        return Grid(torch.tensor([*start[:-1], *sigma[1:]], dtype=torch.float64), uneven(1).process)

    solver, x = DPMSolverPP(order=3, fix_3m=fix), 2 * noise()
    assert solver.declared_order == slope
    ends = [solver.integrate(denoise, x, grid(n), NoNoise()) for n in (128, 256, 512)]
    measured = math.log2(float((ends[0] - ends[1]).norm() / (ends[1] - ends[2]).norm()))
    assert measured == pytest.approx(slope, abs=0.15)


def test_a_constant_prediction_is_followed_exactly(uneven: Make) -> None:
    x, target = torch.full((3, 2), 7.0, dtype=torch.float64), torch.full((3, 2), 0.25, dtype=torch.float64)
    expected = target + 0.05 / 5.0 * (x - target)
    for order in (1, 2, 3):
        for fix in (False, True):
            end = DPMSolverPP(order=order, fix_3m=fix).integrate(lambda x, _: target, x, uneven(7), NoNoise())
            torch.testing.assert_close(end, expected, rtol=1e-13, atol=0)


def test_thresholding_is_diffusers(noise, karras: Make, diffusers_solve) -> None:
    def wide(x: Tensor, sigma: float) -> Tensor:
        return 4 * x / (4 + sigma**2)  # data of standard deviation 2, so that clipping bites

    grid, x = karras(6, "zero"), 10 * noise(torch.float32).view(2, 4, 2)
    config = {"solver_order": 2, "thresholding": True, "sample_max_value": 100.0, "final_sigmas_type": "zero"}
    theirs = diffusers_solve("DPMSolverMultistepScheduler", config, x, grid, (), wide)
    solver = DPMSolverPP(threshold=0.995, lower_final=15)
    assert solver.declared_order is None
    ours = solver.integrate(wide, x, grid, NoNoise())
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    unclipped = DPMSolverPP(lower_final=15).integrate(wide, x, grid, NoNoise())
    assert float(ours.abs().max()) <= 1.0 < float(unclipped.abs().max())


@pytest.mark.parametrize(
    "spec", ["order=4", "order=x", "lower_final=-1", "lower_final=never", "threshold=2", "sde=true"]
)
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"dpm_solver_pp[{spec}]")


def test_lower_final_is_read_from_text() -> None:
    assert create("method", "dpm_solver_pp[lower_final=15]").lower_final == 15
    assert create("method", "dpm_solver_pp[lower_final=always]").lower_final == "always"
