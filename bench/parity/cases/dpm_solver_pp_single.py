"""DPM-Solver++ in single-step form: the authors' code, diffusers, and k-diffusion's 2S with noise."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from bench.grids import Grid
from bench.parity.authors import lambda_solver, load
from bench.parity.base import Case, Setup
from bench.parity.external import diffusers, k_diffusion, package

ODD, EVEN = (1, 3, 5, 9, 19), (2, 4, 8, 10, 20)
END = "plan=fast,grid=karras[end=sigma_min]"
APPEND = "grid=karras[end=append]"
MODULE = "diffusers.schedulers.scheduling_dpmsolver_singlestep"


def _singlestep(setup: Setup, order: int, **config: Any) -> Tensor:
    """DPMSolverSinglestepScheduler, which gives ``order`` steps of its grid to one interval of ours."""
    shares = torch.arange(order, dtype=torch.float64) / order
    nodes = [high * (low / high) ** shares for high, low in itertools.pairwise(setup.grid.sigma)]
    fine = Grid(torch.cat([*nodes, setup.grid.sigma[-1:]]), setup.grid.process)
    with mock.patch.object(package(MODULE), "randn_tensor", lambda *_, **__: setup.noise.normal()):
        return diffusers(
            dataclasses.replace(setup, grid=fine),
            "DPMSolverSinglestepScheduler",
            solver_order=order,
            lower_order_final=False,
            final_sigmas_type="sigma_min",
            **config,
        )


def _brownian(setup: Setup, **options: Any) -> Tensor:
    """``sample_dpmpp_sde`` with the increments of a Brownian path in sigma, as its default, of our numbers."""
    last: list[tuple[float, float, Tensor]] = []

    def draw(high: Tensor, low: Tensor) -> Tensor:
        high_, low_ = float(high), float(low)
        z = setup.noise.normal()
        if last:  # the step to the middle was asked for before; this is the whole
            _, middle, old = last.pop()
            share = (high_ - middle) / (high_ - low_)
            return math.sqrt(share) * old + math.sqrt(1 - share) * z
        last.append((high_, low_, z))
        return z

    return k_diffusion(setup, "sample_dpmpp_sde", noise_sampler=draw, **options)


def _authors(setup: Setup, **options: Any) -> Tensor:
    module = load(setup, "dpm_solver_pytorch")
    make = {"algorithm_type": "dpmsolver++"}
    return lambda_solver(setup, module.DPM_Solver, make, steps=setup.nfe, method="singlestep", **options)


CASES = (
    *(
        Case(
            solver=f"dpm_solver_pp_single[order={order},solver_type={kind},plan=fast,grid=logsnr[end=sigma_min]]",
            against="LuChengTHU/dpm-solver",
            what=f"DPM_Solver('dpmsolver++').sample(method='singlestep', order={order}, solver_type='{theirs}')",
            reference=lambda setup, order=order, theirs=theirs: _authors(  # type: ignore[misc]
                setup, order=order, solver_type=theirs
            ),
        )
        for order, kind, theirs in (
            (1, "midpoint", "dpmsolver"),
            (2, "midpoint", "dpmsolver"),
            (2, "heun", "taylor"),
            (3, "midpoint", "dpmsolver"),
            (3, "heun", "taylor"),
        )
    ),
    *(
        Case(
            solver=f"dpm_solver_pp_single[order={order},solver_type={kind},{END}]",
            against="diffusers",
            what=f"DPMSolverSinglestepScheduler(solver_order={order}, solver_type='{kind}')",
            reference=lambda setup, order=order, kind=kind: _singlestep(  # type: ignore[misc]
                setup, order, solver_type=kind
            ),
            nfes=nfes,
        )
        for order, kind, nfes in ((1, "midpoint", (1, 2, 3, 5, 8, 10, 20)), (2, "midpoint", EVEN), (2, "heun", EVEN))
    ),
    *(
        Case(
            solver=f"dpm_solver_pp_single[solver_type={kind},eta=1.0,noise_at=stages,{END}]",
            against="diffusers",
            what=f"DPMSolverSinglestepScheduler(solver_type='{kind}', algorithm_type='sde-dpmsolver++')",
            reference=lambda setup, kind=kind: _singlestep(  # type: ignore[misc]
                setup, 2, solver_type=kind, algorithm_type="sde-dpmsolver++"
            ),
            nfes=EVEN,
        )
        for kind in ("midpoint", "heun")
    ),
    *(
        Case(
            solver=f"dpm_solver_pp_single[eta={eta},{APPEND}]",
            against="k-diffusion",
            what=f"sample_dpmpp_2s_ancestral(eta={eta})",
            reference=lambda setup, eta=eta: k_diffusion(  # type: ignore[misc]
                setup, "sample_dpmpp_2s_ancestral", noisy=eta > 0, eta=eta
            ),
            nfes=ODD,
        )
        for eta in (0.0, 0.6, 1.0)
    ),
    *(
        Case(
            solver=f"dpm_solver_pp_single[eta={eta},noise_at=stages,{APPEND}]",
            against="k-diffusion",
            what=f"sample_dpmpp_sde(eta={eta}), independent noise",
            reference=lambda setup, eta=eta: k_diffusion(  # type: ignore[misc]
                setup, "sample_dpmpp_sde", noisy=True, eta=eta
            ),
            nfes=ODD,
        )
        for eta in (0.6, 1.0)
    ),
    *(
        Case(
            solver=f"dpm_solver_pp_single[eta={eta},noise_at=brownian,{APPEND}]",
            against="k-diffusion",
            what=f"sample_dpmpp_sde(eta={eta}), Brownian noise",
            reference=lambda setup, eta=eta: _brownian(setup, eta=eta),  # type: ignore[misc]
            nfes=ODD,
        )
        for eta in (0.6, 1.0)
    ),
)
