"""DDPM's ancestral step, with both variances."""

from __future__ import annotations

import warnings
from typing import Any
from unittest import mock

from torch import Tensor

from bench.parity.base import Case, Setup
from bench.parity.external import azula, package


def _scheduler(setup: Setup, **config: Any) -> Tensor:
    """DDPMScheduler with our table of cumulative alphas and our normal numbers."""
    n = len(setup.grid) - 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        scheduler = package("diffusers").DDPMScheduler(num_train_timesteps=n, **config)
    scheduler.set_timesteps(n)
    abar = 1 / (1 + setup.grid.sigma**2)
    scheduler.alphas_cumprod, scheduler.one = abar[:-1].flip(0), abar[-1]
    state = setup.x * abar[0].sqrt()
    module = "diffusers.schedulers.scheduling_ddpm.randn_tensor"
    with mock.patch(module, lambda *args, **options: setup.noise.normal()):
        for t, sigma in zip(scheduler.timesteps, setup.grid.nodes[:-1], strict=True):
            ours = state / scheduler.alphas_cumprod[t].sqrt()
            eps = (ours - setup.denoise(ours, sigma)) / sigma
            state = scheduler.step(eps, t, state).prev_sample
    return state


CASES = (
    *(
        Case(
            solver=f"ddpm[variance={variance}]",
            against="diffusers",
            what=f"DDPMScheduler(variance_type='fixed_{variance}', clip_sample=False)",
            reference=lambda setup, variance=variance: _scheduler(  # type: ignore[misc]
                setup, variance_type=f"fixed_{variance}", clip_sample=False
            ),
        )
        for variance in ("small", "large")
    ),
    Case(
        solver="ddpm[clip=0.8]",
        against="diffusers",
        what="DDPMScheduler(clip_sample=True, clip_sample_range=0.8)",
        reference=lambda setup: _scheduler(setup, clip_sample=True, clip_sample_range=0.8),
    ),
    Case(
        solver="ddpm",
        against="diffusers",
        what="DDPMScheduler()",
        reference=lambda setup: _scheduler(setup),
        tolerance=None,
        verdict="diffusers clips every prediction to [-1, 1] unless it is told not to, as released samplers of pixels "
        "do; wrong for latents, so here it is off. clip=1.0 or clip_sample=False make them equal.",
    ),
    Case(
        solver="ddpm[clip=1.0]",
        against="diffusers",
        what="DDPMScheduler(), its defaults",
        reference=lambda setup: _scheduler(setup),
    ),
    *(
        Case(
            solver=f"ddpm[grid=karras[end={end}]]",
            against="azula",
            what="DDPMSampler",
            reference=lambda setup: azula(setup, "DDPMSampler", noisy=True),
        )
        for end in ("zero", "sigma_min")
    ),
)
