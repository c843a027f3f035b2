r"""DDPM: ancestral sampling from the posterior of the forward process, on any sub-sequence of noise levels.

Update from ``sigma_s`` to ``sigma_t``, with ``D = D(x, sigma_s)`` and ``z`` standard normal:

    x_t = D + (sigma_t^2 / sigma_s^2) (x - D) + std z

    small: std^2 = sigma_t^2 (sigma_s^2 - sigma_t^2) / sigma_s^2
    large: std^2 = (1 + sigma_t^2) (sigma_s^2 - sigma_t^2) / (1 + sigma_s^2)

Ho, Jain and Abbeel 2020, "Denoising Diffusion Probabilistic Models", arXiv 2006.11239, Eq. 6-7 and Sec. 3.2. With
steps left out, ``beta = 1 - abar_s / abar_t`` is recomputed from the ratio (the table's beta would be that of one
short step).

What depends on the process: given ``x0``, ``x_s = x_t + sqrt(sigma_s^2 - sigma_t^2) eps`` is Gaussian in the
coordinates used here for every process, so the posterior's mean and its variance (``small``) follow from the two
noise levels alone. ``large`` is the forward variance ``beta / abar_t`` of the variance-preserving process, ``abar = 1
/ (1 + sigma^2)``: it is taken as such whatever process the teacher was trained on. ``small`` is right for data at a
point, ``large`` for data N(0, I), per dimension.

No noise is added in a step to 0 (Algorithm 2, line 3). Departure: released samplers clip ``D`` to [-1, 1]; here
``clip`` is a parameter, off by default, because it is wrong for latents.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver
from bench.rng import SampleNoise

INFO = Info(
    summary="Ancestral sampling: a step of the posterior q(x_t | x_s, x0), with its small or its large variance.",
    family="solvers",
    papers=(
        Paper(
            title="Denoising Diffusion Probabilistic Models",
            authors="Jonathan Ho and Ajay Jain and Pieter Abbeel",
            year=2020,
            arxiv="2006.11239",
            equation="Algorithm 2",
            code="hojonathanho/diffusion",
        ),
    ),
)


class DDPM(Solver):
    """The solver.

    Attributes:
        variance: of the reverse step: ``small`` (the posterior's) or ``large`` (the forward step's).
        clip: bound on the absolute value of every ``D``, in units of the data; None for none.
    """

    variance: Literal["small", "large"] = "small"
    clip: float | None = Field(default=None, gt=0)

    def _std(self, sigma_s: float, sigma_t: float) -> float:
        if sigma_t == 0:
            return 0.0
        gap = sigma_s**2 - sigma_t**2
        if self.variance == "small":
            return sigma_t * math.sqrt(gap) / sigma_s
        return math.sqrt((1 + sigma_t**2) * gap / (1 + sigma_s**2))

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        for sigma_s, sigma_t in grid.steps():
            x0_hat = denoise(x, sigma_s)
            if self.clip is not None:
                x0_hat = x0_hat.clamp(-self.clip, self.clip)
            x = torch.lerp(x0_hat, x, (sigma_t / sigma_s) ** 2)
            std = self._std(sigma_s, sigma_t)
            if std > 0:
                x = x.add(noise.normal(), alpha=std)
        return x
