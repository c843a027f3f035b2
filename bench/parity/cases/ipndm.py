"""iPNDM: the weights of a constant step on whatever grid."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from bench.parity.authors import diff_sampler
from bench.parity.base import Case, Setup
from bench.parity.cases._th_deis import th_deis
from bench.parity.external import package
from bench.process import VPLinear


def _scheduler(setup: Setup) -> Tensor:
    """IPNDMScheduler, which has v predicted on ``cos x0 + sin eps``; its angles are those of our noise levels."""
    n, angles = len(setup.grid) - 1, setup.grid.sigma.atan()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        scheduler = package("diffusers").IPNDMScheduler()
    scheduler.set_timesteps(n)
    scheduler.betas, scheduler.alphas = angles.sin(), angles.cos()
    scheduler.timesteps = torch.arange(n, 0, -1)
    state = setup.x * angles[0].cos()
    for i, (t, sigma) in enumerate(zip(scheduler.timesteps, setup.grid.nodes[:-1], strict=True)):
        x0_hat = setup.denoise(state / angles[i].cos(), sigma)
        eps = (state - angles[i].cos() * x0_hat) / angles[i].sin()
        state = scheduler.step(angles[i].cos() * eps - angles[i].sin() * x0_hat, t, state).prev_sample
    found: Tensor = state / angles[-1].cos()
    return found


CASES = (
    *(
        Case(
            solver=f"ipndm[grid={grid}]",
            against="diffusers",
            what="IPNDMScheduler on our nodes",
            reference=_scheduler,
            verdict="Its own nodes, uniform in the angle, are a grid of their own; the recursion is the same.",
        )
        for grid in ("vp_uniform", "karras[end=sigma_min]")
    ),
    *(
        Case(
            solver=f"ipndm[order={order},grid={grid}]",
            against="zju-pi/diff-sampler",
            what=f"ipndm_sampler(max_order={order})",
            reference=lambda setup, order=order: diff_sampler(  # type: ignore[misc]
                setup, "ipndm_sampler", max_order=order
            ),
        )
        for order in (2, 3, 4)  # order 1 raises IndexError there
        for grid in ("karras[end=sigma_min]", "vp_uniform[end=sigma_min]")
    ),
    Case(
        solver="ipndm[afs=true,grid=karras[end=sigma_min]]",
        against="zju-pi/diff-sampler",
        what="ipndm_sampler(max_order=4, afs=True)",
        reference=lambda setup: diff_sampler(setup, "ipndm_sampler", max_order=4, afs=True),
    ),
    Case(
        solver="ipndm[grid=time_uniform[end=sigma_min]]",
        against="qsh-zh/deis",
        what="th_deis, method='ipndm'",
        reference=lambda setup: th_deis(setup, "ipndm"),
        process=VPLinear(),
    ),
)
