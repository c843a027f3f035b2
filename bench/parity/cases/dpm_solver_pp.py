"""DPM-Solver++, multistep: four code bases and a library, each with its own end of the grid."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.parity.authors import diff_sampler, lambda_solver, load
from bench.parity.base import NFES, Case, Setup
from bench.parity.external import azula, diffusers, k_diffusion, package

MULTI = "DPMSolverMultistepScheduler"
END = "grid=karras[end=sigma_min]"


def _authors(setup: Setup, **options: Any) -> Tensor:
    module = load(setup, "dpm_solver_pytorch")
    make = {"algorithm_type": "dpmsolver++"}
    return lambda_solver(setup, module.DPM_Solver, make, steps=setup.nfe, method="multistep", **options)


def _own_karras(setup: Setup, **config: Any) -> Tensor:
    """diffusers on its own Karras grid between our levels, for which it is given betas that reach them."""
    high, low = setup.grid.nodes[0], setup.grid.nodes[-1]
    abar = 1 / (1 + (low * (high / low) ** torch.linspace(0, 1, 1000, dtype=torch.float64)) ** 2)
    betas = 1 - abar / torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
    scheduler = package("diffusers").DPMSolverMultistepScheduler(
        trained_betas=betas.numpy(), use_karras_sigmas=True, final_sigmas_type="sigma_min", **config
    )
    scheduler.set_timesteps(setup.nfe)
    sample = setup.x / (1 + high**2) ** 0.5
    for t, sigma in zip(scheduler.timesteps, scheduler.sigmas.tolist(), strict=False):
        state = sample * (1 + sigma**2) ** 0.5
        sample = scheduler.step((state - setup.denoise(state, sigma)) / sigma, t, sample).prev_sample
    found: Tensor = sample * (1 + float(scheduler.sigmas[-1]) ** 2) ** 0.5
    return found


CASES = (
    *(
        Case(
            solver=f"dpm_solver_pp[order={order},solver_type={kind},lower_final=15,grid=karras[end={end}]]",
            against="diffusers",
            what=f"{MULTI}(solver_order={order}, solver_type='{kind}', final_sigmas_type='{end}')",
            reference=lambda setup, order=order, kind=kind, end=end: diffusers(  # type: ignore[misc]
                setup, MULTI, solver_order=order, solver_type=kind, final_sigmas_type=end
            ),
        )
        for order, kind in ((1, "midpoint"), (2, "midpoint"), (2, "heun"), (3, "midpoint"), (3, "heun"))
        for end in ("zero", "sigma_min")
    ),
    *(
        Case(
            solver=f"dpm_solver_pp[order={order},{END}]",
            against="diffusers",
            what=f"{MULTI}(solver_order={order}, lower_order_final=False, final_sigmas_type='sigma_min')",
            reference=lambda setup, order=order: diffusers(  # type: ignore[misc]
                setup, MULTI, solver_order=order, lower_order_final=False, final_sigmas_type="sigma_min"
            ),
        )
        for order in (2, 3)
    ),
    Case(
        solver=f"dpm_solver_pp[{END}]",
        against="diffusers",
        what=f"{MULTI}(solver_order=2, final_sigmas_type='sigma_min')",
        reference=lambda setup: diffusers(setup, MULTI, solver_order=2, final_sigmas_type="sigma_min"),
        tolerance=None,
        verdict="diffusers lowers the order of the last steps below 15 steps, a kink in every sweep over budgets; ours "
        "has one rule for all. lower_final=15 or lower_order_final=False make them equal.",
    ),
    Case(
        solver=f"dpm_solver_pp[lower_final=15,{END}]",
        against="diffusers",
        what=f"{MULTI}(solver_order=2, use_karras_sigmas=True, final_sigmas_type='sigma_min'), its own grid",
        reference=lambda setup: _own_karras(setup, solver_order=2),
        tolerance=None,
        verdict="A fault of diffusers: its Karras grid ends in sigma_min, which is appended once more. The last "
        "evaluation and the lower order are wasted: theirs with n steps is ours with n - 1 and lower_final=0. At order "
        "3 it is NaN from 15 steps on.",
    ),
    *(
        Case(
            solver=f"dpm_solver_pp[grid=karras[end={end}]]",
            against="k-diffusion",
            what="sample_dpmpp_2m",
            reference=lambda setup: k_diffusion(setup, "sample_dpmpp_2m"),
        )
        for end in ("append", "sigma_min")
    ),
    *(
        Case(
            solver=f"dpm_solver_pp[order={order},{parameter},{END}]",
            against="azula",
            what=f"xEABSampler(order={order})",
            reference=lambda setup, order=order: azula(setup, "xEABSampler", order=order),  # type: ignore[misc]
            tolerance=tolerance,
            verdict=verdict,
        )
        for order, parameter, tolerance, verdict in (
            (2, "solver_type=heun", 1e-5, ""),
            (3, "solver_type=heun,fix_3m=true", 1e-5, ""),
            (
                3,
                "solver_type=heun",
                None,
                "The factor that DPM-Solver++(3M) lacks in all its code bases, ours by default included: azula "
                "integrates the polynomial exactly, third order. fix_3m=true makes them equal.",
            ),
        )
    ),
    *(
        Case(
            solver=f"dpm_solver_pp[order={order},solver_type={kind},lower_final=10,{END}]",
            against="LuChengTHU/dpm-solver",
            what=f"DPM_Solver('dpmsolver++').sample(method='multistep', order={order}, solver_type='{theirs}')",
            reference=lambda setup, order=order, theirs=theirs: _authors(  # type: ignore[misc]
                setup, order=order, solver_type=theirs
            ),
            nfes=tuple(n for n in NFES if n >= order),
            verdict=f"With fewer than {order} steps theirs refuses.",
        )
        for order, kind, theirs in ((2, "midpoint", "dpmsolver"), (2, "heun", "taylor"), (3, "midpoint", "dpmsolver"))
    ),
    *(
        Case(
            solver=f"dpm_solver_pp[order={order},lower_final={lower},threshold=0.995,{END}]",
            against="zju-pi/diff-sampler",
            what=f"dpm_pp_sampler(max_order={order})",
            reference=lambda setup, order=order: diff_sampler(  # type: ignore[misc]
                setup, "dpm_pp_sampler", max_order=order
            ),
            nfes=nfes,
            verdict="With fewer steps than its order theirs lowers none at the end." * (nfes == (2,)),
        )
        for order, lower, nfes in ((2, "always", NFES), (3, "always", (1, 3, 5, 8, 10, 20)), (3, 0, (2,)))
    ),
    Case(
        solver=f"dpm_solver_pp[order=3,lower_final=always,{END}]",
        against="zju-pi/diff-sampler",
        what="dpm_pp_sampler(max_order=3), without threshold=0.995 here",
        reference=lambda setup: diff_sampler(setup, "dpm_pp_sampler", max_order=3),
        tolerance=None,
        verdict="A fault of diff-sampler: it forces dynamic thresholding at 0.995, which clips data that is not within "
        "[-1, 1] and divides by the bound. threshold=0.995 makes them equal; here it is off by default.",
    ),
)
