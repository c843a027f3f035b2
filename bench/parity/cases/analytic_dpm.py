"""Analytic-DPM: the authors' two samplers on as many noise levels as our grid has, which need not be from training.

Their state is variance preserving, their noise is ours, and their mean squares of eps are those of the covariance that
our artifact holds. One step is not defined there (``sample_steps > 1``).
"""

from __future__ import annotations

import math
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from bench.parity.authors import double, load
from bench.parity.base import Case, Setup
from bench.process import VPLinear

REPOSITORY = "baofff/Analytic-DPM"
SIGMA = (10.0, 0.3, 0.02)
COVARIANCE = (0.9, 0.4, 0.001)  # more than data in [-1, 1] can have, where it is multiplied


def _mean_square(level: float, factor: float) -> float:
    """Of eps: linear in log sigma like what our artifact means."""
    covariance = factor * np.interp(math.log(level), np.log(SIGMA[::-1]), COVARIANCE[::-1])
    return float(1 - covariance / level**2)


def _authors(setup: Setup, name: str, factor: float, **options: Any) -> Tensor:
    module = load(setup, "cifar_imagenet_codes/core", inside=f".inference.sampler.{name.removesuffix('_ms_eps')}")
    function = getattr(module, name)
    levels = [0.0, *reversed(setup.grid.nodes[:-1])]  # by their step number: 0 is clean
    cumulative = np.array([1 / (1 + level**2) for level in levels])
    betas = np.concatenate([[0.0], 1 - cumulative[1:] / cumulative[:-1]])

    def eps_model(x: Tensor, step: Tensor) -> Tensor:
        sigma = levels[int(step[0])]
        state = x * math.hypot(1, sigma)
        return (state - setup.denoise(state, sigma)) / sigma

    with double(), mock.patch("torch.randn_like", lambda x: setup.noise.normal()):
        found: Tensor = function(
            setup.x / math.hypot(1, levels[-1]),
            betas,
            False,
            eps_model=eps_model,
            ms_eps=np.array([0.0, *(_mean_square(level, factor) for level in levels[1:])]),
            **options,
        )
    return found


def _case(name: str, ours: str, factor: float = 1.0, **options: Any) -> Case:
    words = ", ".join(f"{key}={value}" for key, value in options.items())
    return Case(
        solver=f"analytic_dpm[bound=1.0,{ours}]",
        against=REPOSITORY,
        what=f"{name}({words})" + (f", {factor} times the covariance" if factor != 1 else ""),
        reference=lambda setup: _authors(setup, name, factor, **options),
        nfes=(3, 5, 8, 10, 20) if "clip_sigma_idx" in options else (2, 3, 5, 8, 10, 20),  # theirs needs more
        process=VPLinear(),
        artifact={
            "sigma": torch.tensor(SIGMA, dtype=torch.float64),
            "covariance": factor * torch.tensor(COVARIANCE, dtype=torch.float64),
        },
    )


DDPM, DDIM = "reverse_ddpm_ms_eps", "reverse_ddim_ms_eps"

CASES = (
    _case(DDPM, "grid=karras"),
    _case(DDPM, "grid=logsnr", factor=4.0),
    _case(DDPM, "clip_steps=1,clip_pixel=2.0,grid=karras", clip_sigma_idx=1, clip_pixel=2),
    _case(DDIM, "form=ddim,eta=0.0,grid=karras", eta=0.0),
    _case(DDIM, "form=ddim,eta=0.5,clip_steps=2,clip_pixel=5.0,grid=karras", eta=0.5, clip_sigma_idx=2, clip_pixel=5),
    _case(DDIM, "form=ddim,eta=1.0,grid=karras", eta=1.0),
)
