"""PNDM in the authors' code and in diffusers, both with a table of alphas made of our nodes and halves between."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.parity.authors import load
from bench.parity.base import EDM_PROCESS, Case, Setup
from bench.parity.external import package
from bench.process import VPLinear


def _levels(setup: Setup) -> Tensor:
    """(2 N + 1,) noise levels: the last node, the half before it in the teacher's time, the node before, ..."""
    grid = setup.grid
    halves = grid.process.sigma((grid.t[:-1] + grid.t[1:]) / 2)
    levels = torch.empty(2 * len(grid) - 1, dtype=torch.float64)
    levels[::2], levels[1::2] = grid.sigma.flip(0), halves.flip(0)
    return levels


def _authors(setup: Setup, name: str) -> Tensor:
    """``runner/method.py``: the level of time t stands at place t + 1."""
    step = load(setup, "runner/method").choose_method(name)
    levels = _levels(setup)
    squared = 1 / (1 + levels**2)

    def model(img: Tensor, t: Tensor) -> Tensor:
        place = int(t[0]) + 1
        state = img.reshape(len(img), -1) / squared[place].sqrt()
        return ((state - setup.denoise(state, float(levels[place]))) / levels[place]).view_as(img)

    img = (setup.x * squared[-1].sqrt())[:, :, None, None]
    ets: list[Tensor] = []
    for t in range(len(levels) - 2, 0, -2):
        now, then = (torch.full((len(img),), float(time), dtype=torch.float64) for time in (t, t - 2))
        img = step(img, now, then, model, squared, ets)
    return img.reshape(len(img), -1) / squared[0].sqrt()


def _diffusers(setup: Setup, skip_prk_steps: bool) -> Tensor:
    """PNDMScheduler: times 2 apart, the level of time t at place t + 2."""
    levels = _levels(setup)
    squared = 1 / (1 + levels**2)
    n = len(setup.grid) - 1
    scheduler = package("diffusers").PNDMScheduler(num_train_timesteps=2 * n, skip_prk_steps=skip_prk_steps)
    scheduler.set_timesteps(n)
    scheduler.alphas_cumprod, scheduler.final_alpha_cumprod = squared[2:], squared[0]
    sample = setup.x * squared[-1].sqrt()
    for t in scheduler.timesteps.tolist():
        state = sample / squared[t + 2].sqrt()
        eps = (state - setup.denoise(state, float(levels[t + 2]))) / levels[t + 2]
        sample = scheduler.step(eps, t, sample).prev_sample
    return sample / squared[0].sqrt()


EVERY = "karras[end=sigma_min]"

CASES = (
    *(
        Case(
            solver=f"pndm[variant={variant},grid={grid}]",
            against="luping-liu/PNDM",
            what=f"{name}, runner/method.py",
            reference=lambda setup, name=name: _authors(setup, name),  # type: ignore[misc]
            nfes=nfes,
            process=process,
        )
        for variant, name, grid, nfes, process in (
            ("fpndm", "F-PNDM", EVERY, (4, 8, 12, 13, 20), EDM_PROCESS),
            ("fpndm", "F-PNDM", "time_uniform", (13, 14, 20), VPLinear()),
            ("spndm", "S-PNDM", EVERY, (2, 3, 5, 8, 10, 20), EDM_PROCESS),
            ("spndm", "S-PNDM", "time_uniform", (3, 5, 8, 10, 20), VPLinear()),
        )
    ),
    Case(
        solver=f"pndm[variant=fpndm,grid={EVERY}]",
        against="diffusers",
        what="PNDMScheduler",
        reference=lambda setup: _diffusers(setup, False),
        nfes=(13, 14, 20),  # it needs four steps
        process=VPLinear(),
    ),
    *(
        Case(
            solver=f"pndm[variant=plms,grid={grid}]",
            against="diffusers",
            what="PNDMScheduler(skip_prk_steps=True)",
            reference=lambda setup: _diffusers(setup, True),
            nfes=(1, 3, 5, 8, 10, 20),
        )
        for grid in (EVERY, "vp_uniform")
    ),
)
