"""DDIM, which is Euler's method in sigma, and its ancestral step."""

from __future__ import annotations

import warnings

from torch import Tensor

from bench.parity.authors import diff_sampler
from bench.parity.base import Case, Setup
from bench.parity.cases._edm import edm
from bench.parity.cases._th_deis import th_deis
from bench.parity.external import azula, k_diffusion, package
from bench.process import VPLinear


def _scheduler(setup: Setup, eta: float) -> Tensor:
    """DDIMScheduler has no list of noise levels to replace: its table of cumulative alphas is ours instead."""
    n = len(setup.grid) - 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        scheduler = package("diffusers").DDIMScheduler(
            num_train_timesteps=n, clip_sample=False, timestep_spacing="leading", steps_offset=0
        )
    scheduler.set_timesteps(n)
    abar = 1 / (1 + setup.grid.sigma**2)
    scheduler.alphas_cumprod, scheduler.final_alpha_cumprod = abar[:-1].flip(0), abar[-1]
    state = setup.x * abar[0].sqrt()
    for t, sigma in zip(scheduler.timesteps, setup.grid.nodes[:-1], strict=True):
        ours = state / scheduler.alphas_cumprod[t].sqrt()
        eps = (ours - setup.denoise(ours, sigma)) / sigma
        extra = {"variance_noise": setup.noise.normal()} if eta else {}
        state = scheduler.step(eps, t, state, eta=eta, **extra).prev_sample
    found: Tensor = state / abar[-1].sqrt()
    return found


CASES = (
    *(
        Case(
            solver=f"ddim[eta={eta},grid=karras[end={end}]]",
            against="diffusers",
            what=f"DDIMScheduler, eta={eta}",
            reference=lambda setup, eta=eta: _scheduler(setup, eta),  # type: ignore[misc]
        )
        for eta in (0.0, 0.4, 1.0)
        for end in ("zero", "sigma_min")
    ),
    Case(
        solver="ddim[grid=karras[end=append]]",
        against="k-diffusion",
        what="sample_euler",
        reference=lambda setup: k_diffusion(setup, "sample_euler"),
    ),
    *(
        Case(
            solver=f"ddim[eta={eta},grid=karras[end=append]]",
            against="k-diffusion",
            what=f"sample_euler_ancestral(eta={eta})",
            reference=lambda setup, eta=eta: k_diffusion(  # type: ignore[misc]
                setup, "sample_euler_ancestral", noisy=True, eta=eta
            ),
        )
        for eta in (0.4, 1.0)
    ),
    Case(
        solver="ddim",
        against="azula",
        what="EulerSampler",
        reference=lambda setup: azula(setup, "EulerSampler"),
    ),
    Case(
        solver="ddim",
        against="azula",
        what="DDIMSampler(eta=0)",
        reference=lambda setup: azula(setup, "DDIMSampler", noisy=True),
    ),
    Case(
        solver="ddim[eta=0.4,grid=karras[end=sigma_min]]",
        against="azula",
        what="DDIMSampler(eta=0.4)",
        reference=lambda setup: azula(setup, "DDIMSampler", noisy=True, eta=0.4),
        tolerance=None,
        verdict="azula multiplies the variance of the fresh noise with eta, the paper (Eq. 16) its standard deviation, "
        "as diffusers and ours do: azula's eta is the square of the paper's. Both agree at eta 0 and 1.",
    ),
    Case(
        solver="ddim[eta=0.4,grid=karras[end=sigma_min]]",
        against="azula",
        what="DDIMSampler(eta=0.16)",
        reference=lambda setup: azula(setup, "DDIMSampler", noisy=True, eta=0.16),
    ),
    *(
        Case(
            solver=f"ddim[afs={str(afs).lower()},grid=karras[end=sigma_min]]",
            against="zju-pi/diff-sampler",
            what=f"euler_sampler(afs={afs})",
            reference=lambda setup, afs=afs: diff_sampler(setup, "euler_sampler", afs=afs),  # type: ignore[misc]
        )
        for afs in (False, True)
    ),
    Case(
        solver="ddim[grid=karras[end=append]]",
        against="NVlabs/edm",
        what="ablation_sampler(solver='euler')",
        reference=lambda setup: edm(setup, "ablation_sampler", solver="euler"),
        nfes=(2, 3, 5, 8, 10, 20),
        verdict="At one step theirs is NaN: the grid divides 0 by N - 1 = 0.",
    ),
    Case(
        solver="ddim[grid=time_uniform[end=sigma_min]]",
        against="qsh-zh/deis",
        what="th_deis, method='rho_rk', rk_method='1euler'",
        reference=lambda setup: th_deis(setup, "rho_rk", rk_method="1euler"),
        process=VPLinear(),
    ),
)
