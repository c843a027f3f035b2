r"""DDIM: Euler's method in ``sigma``, with an optional share ``eta`` of fresh noise.

Update from ``sigma_s`` to ``sigma_t``, with ``D = D(x, sigma_s)`` and ``z`` standard normal:

    sigma_up^2 = eta^2 sigma_t^2 (sigma_s^2 - sigma_t^2) / sigma_s^2
    x_t        = D + sqrt(sigma_t^2 - sigma_up^2) (x - D) / sigma_s + sigma_up z

Song, Meng and Ermon 2020, "Denoising Diffusion Implicit Models", arXiv 2010.02502, Eq. 12 and 16. There the VP state
``sqrt(abar) x`` gets noise of variance ``eta^2 (1 - abar_t) / (1 - abar_s) (1 - abar_s / abar_t)``. With

    abar = 1 / (1 + sigma^2)
    1 - abar_s / abar_t = (sigma_s^2 - sigma_t^2) / (1 + sigma_s^2)
    1 - abar_s          = sigma_s^2 / (1 + sigma_s^2)

dividing by ``abar_t`` leaves ``sigma_up^2`` above: the update depends on the noise levels only and is the same for
every process. ``eta = 0`` is Euler's method; ``eta = 1`` is the ancestral step, a draw from ``q(x_t | x_s, x0 = D)``.

``afs`` (analytical first step, Dockhorn et al. 2022, arXiv 2210.05475) takes the first direction to be
``x / sqrt(1 + sigma^2)``. That nearly holds for data of unit variance and large sigma, and costs no evaluation: n
evaluations make n + 1 steps.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver
from bench.rng import SampleNoise

INFO = Info(
    summary="Euler's method in the noise level; eta adds the noise of ancestral sampling.",
    family="solvers",
    papers=(
        Paper(
            title="Denoising Diffusion Implicit Models",
            authors="Jiaming Song and Chenlin Meng and Stefano Ermon",
            year=2020,
            arxiv="2010.02502",
            equation="Eq. 12",
            code="ermongroup/ddim",
        ),
    ),
)


class DDIM(Solver):
    """The solver.

    Attributes:
        eta: share of the posterior's standard deviation drawn anew, 0 (deterministic) to 1 (ancestral).
        afs: whether the first direction is the closed form for data of unit variance.
    """

    eta: float = Field(default=0.0, ge=0.0, le=1.0)
    afs: bool = False

    @property
    def declared_order(self) -> int | None:
        # the direction of AFS is wrong by an amount that does not shrink with the step
        return 1 if self.eta == 0 and not self.afs else None

    def intervals(self, nfe: int) -> int:
        return nfe + 1 if self.afs else nfe

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        for step, (sigma_s, sigma_t) in enumerate(grid.steps()):
            sigma_up = self.eta * sigma_t * math.sqrt(1 - (sigma_t / sigma_s) ** 2)
            keep = math.sqrt(sigma_t**2 - sigma_up**2) / sigma_s
            analytical = self.afs and step == 0
            x0_hat = x * (1 - sigma_s / math.hypot(1, sigma_s)) if analytical else denoise(x, sigma_s)
            x = torch.lerp(x0_hat, x, keep)
            if sigma_up > 0:
                x = x.add(noise.normal(), alpha=sigma_up)
        return x
