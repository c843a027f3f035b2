"""EDICT against the authors' generation loop for Stable Diffusion, its network and tables replaced by ours."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from unittest.mock import MagicMock

import torch
from torch import Tensor

from bench.parity.authors import double, load
from bench.parity.base import Case, Setup, Unavailable

AUTHORS = "salesforce/EDICT"
STAND_INS = (
    *("transformers", "omegaconf", "matplotlib", "matplotlib.pyplot", "imageio", "PIL", "torchvision", "tqdm.auto"),
    *("my_diffusers", "my_diffusers.schedulers", "my_diffusers.schedulers.scheduling_utils"),
)


def _reference(mix: float) -> Callable[[Setup], Tensor]:
    """``coupled_stablediffusion`` from a given latent to its pair of latents, of which ours is the first."""

    def run(setup: Setup) -> Tensor:
        if setup.checkout is None:
            raise Unavailable(f"needs a checkout of {AUTHORS}")
        nodes = setup.grid.sigma.flip(0)  # index 0 is the last level that is evaluated
        abar, count = 1 / (1 + nodes**2), len(nodes) - 1

        def unet(z: Tensor, t: Tensor, encoder_hidden_states: object) -> SimpleNamespace:
            sigma = float(nodes[int(t) + 1])
            state = z.flatten(1) * (1 + sigma**2) ** 0.5
            return SimpleNamespace(sample=((state - setup.denoise(state, sigma)) / sigma).view_as(z))

        unet.in_channels = 1  # type: ignore[attr-defined]
        scheduler = SimpleNamespace(
            alphas_cumprod=abar[1:],
            final_alpha_cumprod=abar[0],
            timesteps=torch.arange(count - 1, -1, -1),
            num_train_timesteps=count,
            num_inference_steps=count,
            config=SimpleNamespace(num_train_timesteps=count),
            set_timesteps=lambda steps: None,
        )
        with double(), contextlib.chdir(setup.checkout):  # it reads a file of its folder
            module = load(setup, "edict_functions", STAND_INS)
            vars(module).update(device="cpu", unet=unet, DDIMScheduler=lambda **_: scheduler, tqdm=lambda x, **_: x)
            attention = ("init_attention_func", "init_attention_weights", "use_last_tokens_attention_weights")
            vars(module).update(dict.fromkeys(attention, MagicMock()))
            start = (setup.x * abar[-1].sqrt()).view(-1, 1, 2, 1)
            pair = module.coupled_stablediffusion(
                steps=count, fixed_starting_latent=start, return_latents=True, mix_weight=mix, width=64, height=64
            )
        found: Tensor = pair[0].flatten(1) / abar[0].sqrt()
        return found

    return run


CASES = tuple(
    Case(
        solver=f"edict[p={mix},grid=karras[end={end}]]",
        against=AUTHORS,
        what=f"coupled_stablediffusion(mix_weight={mix})",
        reference=_reference(mix),
        nfes=(2, 4, 6, 8, 10, 20),
    )
    for mix, end in ((0.93, "zero"), (0.8, "sigma_min"), (1.0, "zero"))
)
