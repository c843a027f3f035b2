"""DPM-Solver: the single-step solver of noise predictions."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from bench.grids import Grid
from bench.parity.authors import diff_sampler, double, lambda_solver, load
from bench.parity.base import Case, Setup
from bench.parity.external import diffusers, k_diffusion, package
from bench.process import VPLinear

ODD, EVEN = (1, 3, 5, 9, 19), (2, 4, 8, 10, 20)
LOGSNR = "grid=logsnr[end=sigma_min]"


def _fast(setup: Setup) -> Tensor:
    """What ``sample_dpm_fast`` of k-diffusion calls."""
    ends = setup.grid.sigma[[0, -1]].log().neg()
    with double():
        solver = package("k_diffusion.sampling").DPMSolver(setup.denoise)
        found: Tensor = solver.dpm_solver_fast(setup.x, ends[0], ends[1], setup.nfe)
    return found


def _singlestep(setup: Setup, order: int) -> Tensor:
    """DPMSolverSinglestepScheduler, which gives ``order`` steps of a logSNR grid to one interval."""
    u = torch.linspace(0, 1, setup.nfe + 1, dtype=torch.float64)
    high, low = setup.grid.nodes[0], setup.grid.nodes[-1]
    fine = Grid(high * (low / high) ** u, setup.grid.process)
    config: dict[str, Any] = {"solver_order": order, "algorithm_type": "dpmsolver", "lower_order_final": False}
    setup = Setup(setup.denoise, setup.x, fine, setup.nfe, setup.noise)
    return diffusers(setup, "DPMSolverSinglestepScheduler", final_sigmas_type="sigma_min", **config)


def _kdpm2(setup: Setup) -> Tensor:
    """KDPM2DiscreteScheduler, whose inner nodes are the geometric means, on our noise levels."""
    sigma = setup.grid.sigma
    n = len(sigma) - 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        scheduler = package("diffusers").KDPM2DiscreteScheduler(beta_schedule="scaled_linear")
    scheduler.set_timesteps(n)
    middle = (sigma[:-2] * sigma[1:-1]).sqrt()
    scheduler.sigmas = torch.cat([sigma[:1], sigma[1:-1].repeat_interleave(2), sigma[-1:]])
    scheduler.sigmas_interpol = torch.cat([sigma[:1], middle.repeat_interleave(2), sigma[-1:]])
    scheduler.timesteps = torch.arange(2 * n - 1, 0, -1)
    levels = [node for pair in zip(setup.grid.nodes[:-2], middle.tolist(), strict=True) for node in pair]
    state = setup.x
    for t, level in zip(scheduler.timesteps, [*levels, setup.grid.nodes[-2]], strict=True):
        state = scheduler.step((state - setup.denoise(state, level)) / level, t, state).prev_sample
    return state


def _authors(setup: Setup, own_grid: bool = False, **options: Any) -> Tensor:
    """``DPM_Solver(algorithm_type="dpmsolver").sample(x, steps=nfe)``."""
    module = load(setup, "dpm_solver_pytorch")
    make = {"algorithm_type": "dpmsolver"}
    if not own_grid:
        return lambda_solver(setup, module.DPM_Solver, make, steps=setup.nfe, **options)
    times = setup.grid.t
    schedule = module.NoiseScheduleVP("linear", continuous_beta_0=0.1, continuous_beta_1=20.0)
    alpha = (1 + setup.grid.sigma**2).rsqrt()

    def model_fn(x: Tensor, t: Tensor) -> Tensor:
        sigma = float(setup.grid.process.sigma(t[:1].double()))
        state = x * (1 + sigma**2) ** 0.5
        eps: Tensor = (state - setup.denoise(state, sigma)) / sigma
        return eps

    solver = module.DPM_Solver(model_fn, schedule, **make)
    found: Tensor = solver.sample(
        setup.x * alpha[0], setup.nfe, float(times[0]), float(times[-1]), skip_type="time_uniform", **options
    )
    return found / alpha[-1]


CASES = (
    Case(
        solver=f"dpm_solver[order=3,plan=fast,{LOGSNR}]",
        against="k-diffusion",
        what="DPMSolver.dpm_solver_fast (of sample_dpm_fast)",
        reference=_fast,
    ),
    Case(
        solver="dpm_solver[order=2,grid=karras[end=append]]",
        against="k-diffusion",
        what="sample_dpm_2",
        reference=lambda setup: k_diffusion(setup, "sample_dpm_2"),
        nfes=ODD,
    ),
    Case(
        solver="dpm_solver[order=2,grid=karras[end=append]]",
        against="diffusers",
        what="KDPM2DiscreteScheduler",
        reference=_kdpm2,
        nfes=ODD,
    ),
    *(
        Case(
            solver=f"dpm_solver[order={order},plan=fast,{LOGSNR}]",
            against="diffusers",
            what=f"DPMSolverSinglestepScheduler(solver_order={order}, algorithm_type='dpmsolver')",
            reference=lambda setup, order=order: _singlestep(setup, order),  # type: ignore[misc]
            nfes=nfes,
        )
        for order, nfes in ((1, (1, 2, 3, 5, 8, 10, 20)), (2, EVEN))
    ),
    *(
        Case(
            solver=f"dpm_solver[order={order},plan=fast,{LOGSNR}]",
            against="LuChengTHU/dpm-solver",
            what=f"DPM_Solver('dpmsolver').sample(method='singlestep', order={order}, skip_type='logSNR')",
            reference=lambda setup, order=order: _authors(  # type: ignore[misc]
                setup, method="singlestep", order=order
            ),
        )
        for order in (1, 2, 3)
    ),
    Case(
        solver="dpm_solver[order=3,plan=fast,grid=time_uniform[end=sigma_min]]",
        against="LuChengTHU/dpm-solver",
        what="DPM_Solver('dpmsolver').sample(method='singlestep', order=3, skip_type='time_uniform')",
        reference=lambda setup: _authors(setup, own_grid=True, method="singlestep", order=3),
        process=VPLinear(),
        tolerance=None,
        verdict="A choice, not a fault: on time-uniform grids the authors space intervals by their cost and place "
        "inner nodes uniformly in time; ours are uniform in lambda as in the paper. Equal on logSNR grids.",
    ),
    Case(
        solver="dpm_solver[order=2,plan=fast,grid=karras[end=sigma_min]]",
        against="zju-pi/diff-sampler",
        what="dpm_2_sampler(r=0.5)",
        reference=lambda setup: diff_sampler(setup, "dpm_2_sampler", r=0.5),
        nfes=EVEN,
    ),
)
