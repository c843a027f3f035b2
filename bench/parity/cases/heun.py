"""Heun's method of Karras et al. 2022."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from bench.parity.authors import diff_sampler
from bench.parity.base import Case, Setup
from bench.parity.cases._edm import edm
from bench.parity.cases._th_deis import th_deis
from bench.parity.external import azula, k_diffusion, package
from bench.process import VPLinear


def _scheduler(setup: Setup) -> Tensor:
    """HeunDiscreteScheduler, which names every inner node twice, on our noise levels."""
    n, sigma = len(setup.grid) - 1, setup.grid.sigma
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        scheduler = package("diffusers").HeunDiscreteScheduler(beta_schedule="scaled_linear")
    scheduler.set_timesteps(n)
    scheduler.sigmas = torch.cat([sigma[:1], sigma[1:-1].repeat_interleave(2), sigma[-1:]])
    scheduler.timesteps = torch.arange(2 * n - 1, 0, -1)
    state = setup.x
    for t, level in zip(scheduler.timesteps, scheduler.sigmas.tolist(), strict=False):
        state = scheduler.step((state - setup.denoise(state, level)) / level, t, state).prev_sample
    return state


ODD, EVEN = (1, 3, 5, 9, 19), (2, 4, 8, 10, 20)

CASES = (
    *(
        Case(
            solver=f"heun[grid=karras[end={end}]]",
            against="k-diffusion",
            what="sample_heun",
            reference=lambda setup: k_diffusion(setup, "sample_heun"),
            nfes=nfes,
        )
        for end, nfes in (("append", ODD), ("zero", ODD), ("sigma_min", EVEN))
    ),
    Case(
        solver="heun",
        against="diffusers",
        what="HeunDiscreteScheduler",
        reference=_scheduler,
        nfes=ODD,
    ),
    Case(
        solver="heun[grid=karras[end=sigma_min]]",
        against="azula",
        what="HeunSampler",
        reference=lambda setup: azula(setup, "HeunSampler"),
        nfes=EVEN,
        verdict="Only on grids that end above 0: azula evaluates at the end of every step, which is 0 / 0 at sigma 0.",
    ),
    Case(
        solver="heun[grid=karras[end=append]]",
        against="NVlabs/edm",
        what="edm_sampler, S_churn=0",
        reference=lambda setup: edm(setup, "edm_sampler"),
        nfes=ODD[1:],
        verdict="At one step theirs is NaN: its grid divides 0 by N - 1 = 0. Ours is the Euler step.",
    ),
    *(
        Case(
            solver="heun[grid=karras[end=append]]",
            against="NVlabs/edm",
            what=f"ablation_sampler(solver='heun', schedule='{schedule}', scaling='none')",
            reference=lambda setup, schedule=schedule: edm(  # type: ignore[misc]
                setup, "ablation_sampler", schedule=schedule
            ),
            nfes=ODD[1:],
            tolerance=tolerance,
            verdict=verdict,
        )
        for schedule, tolerance, verdict in (
            ("linear", 1e-5, ""),
            (
                "vp",
                None,
                "Another method of the same name: with schedule='vp' or 've' the trapezoidal rule runs in that "
                "process's time instead of sigma. Both are second order; schedule='linear' is the paper's and ours.",
            ),
        )
    ),
    Case(
        solver="heun[grid=karras[end=sigma_min]]",
        against="zju-pi/diff-sampler",
        what="heun_sampler",
        reference=lambda setup: diff_sampler(setup, "heun_sampler"),
        nfes=EVEN,
    ),
    Case(
        solver="heun[grid=time_uniform[end=sigma_min]]",
        against="qsh-zh/deis",
        what="th_deis, method='rho_rk', rk_method='2heun'",
        reference=lambda setup: th_deis(setup, "rho_rk", rk_method="2heun"),
        nfes=EVEN,
        process=VPLinear(),
    ),
)
