"""BDIA-DDIM against the authors' text-to-image sampler, one step at a time on our grid."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor

from bench.parity.authors import double, load
from bench.parity.base import Case, Setup

AUTHORS = "guoqiang-zhang-x/BDIA"
FILE = "text-to-image/stablediffusionV2/ldm/models/diffusion/BDIAddim"
STAND_INS = ("tqdm", "ldm", "ldm.modules", "ldm.modules.diffusionmodules", "ldm.modules.diffusionmodules.util")


def _reference(gamma: float) -> Callable[[Setup], Tensor]:
    """Their sampler in the variance-preserving state, its tables replaced by those of our grid, clean end first."""

    def run(setup: Setup) -> Tensor:
        nodes = setup.grid.sigma.flip(0)
        abar, count = 1 / (1 + nodes**2), len(nodes) - 1

        def eps(x: Tensor, t: Tensor, _: object) -> Tensor:
            index = int(t[0])
            state = x.flatten(1) / abar[index].sqrt()
            return ((state - setup.denoise(state, float(nodes[index]))) / nodes[index]).view_as(x)

        module = load(setup, FILE, STAND_INS)
        vars(module).update(noise_like=lambda shape, *_: torch.zeros(shape), tqdm=lambda steps, **_: steps)
        model = SimpleNamespace(apply_model=eps, parameterization="eps", betas=abar, num_timesteps=count)
        sampler = module.BDIADDIMSampler(model, count, gamma, device="cpu")
        sampler.ddim_timesteps = torch.arange(1, count + 1).numpy()
        sampler.ddim_alphas, sampler.ddim_alphas_prev = abar[1:], abar[:-1]
        sampler.ddim_sqrt_one_minus_alphas, sampler.ddim_sigmas = (1 - abar[1:]).sqrt(), torch.zeros(count)
        x = (setup.x * abar[-1].sqrt()).view(-1, 2, 1, 1)
        with double():
            end, _ = sampler.bdiaddim_sampling(None, x.shape, x_T=x)
        found: Tensor = end.flatten(1) / abar[0].sqrt()
        return found

    return run


CASES = tuple(
    Case(
        solver=f"bdia[gamma={gamma},grid=karras[end={end}]]",
        against=AUTHORS,
        what=f"BDIADDIMSampler(gamma={gamma})",
        reference=_reference(gamma),
    )
    for gamma, end in ((0.5, "zero"), (1.0, "sigma_min"), (0.0, "zero"))
)
