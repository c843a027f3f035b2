r"""Two-stage Runge-Kutta steps in sigma, as an ODE solver or followed by the noise of an ancestral step.

A step from ``sigma_s`` to ``sigma_t > 0`` goes down to ``sigma_d`` and adds noise, with ``d(x, sigma) = (x - D(x,
sigma)) / sigma`` and z standard normal::

    sigma_u = eta sigma_t sqrt(1 - sigma_t^2 / sigma_s^2),    sigma_d = sqrt(sigma_t^2 - sigma_u^2)
    sigma_m = sqrt(sigma_s sigma_d)                     (midpoint=geometric)
            = sigma_s + alpha (sigma_d - sigma_s)       (midpoint=alpha)
    x_m     = x + (sigma_m - sigma_s) d(x, sigma_s)
    x_t     = x + (sigma_d - sigma_s) ((1 - w) d(x, sigma_s) + w d(x_m, sigma_m)) + sigma_u s_noise z

w is 1 for the geometric midpoint and ``1 / (2 alpha)`` otherwise: alpha = 1/2 is the midpoint method, 2/3 Ralston's,
1 Heun's. Order 1 is Euler, ``x_t = x + (sigma_d - sigma_s) d(x, sigma_s) + sigma_u s_noise z``. A step to 0 is Euler
without noise, D. Two stages take 2N - 1 evaluations on a grid that ends in 0, 2N otherwise; Euler takes N.

Karras, Aittala, Aila and Laine 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", arXiv
2206.00364: the general second-order method (``alpha`` of ``ablation_sampler`` in the authors' code). The geometric
midpoint is that of k-diffusion's ``sample_dpm_2``, after DPM-Solver-2 (Lu et al. 2022, arXiv 2206.00927), and ``eta``
that of its ``sample_euler_ancestral`` and ``sample_dpm_2_ancestral``; ``order=1`` is DDIM with the same eta.

With ``eta`` above 0 no order is declared: noise. It is exact in distribution for ``s_noise=1``, so on a Gaussian the
variance converges with the order of the ODE solver. ``eta`` is at most 1: beyond, ``sigma_d`` reaches 0, where
k-diffusion drops the noise that it should add.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver, Unsupported
from bench.grids import ends_in_zero
from bench.rng import SampleNoise

INFO = Info(
    summary="Second-order Runge-Kutta in sigma with a free second stage, or Euler; with or without ancestral noise.",
    family="solvers",
    papers=(
        Paper(
            title="Elucidating the Design Space of Diffusion-Based Generative Models",
            authors="Tero Karras and Miika Aittala and Timo Aila and Samuli Laine",
            year=2022,
            arxiv="2206.00364",
            code="NVlabs/edm",
        ),
        Paper(
            title="DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps",
            authors="Cheng Lu and Yuhao Zhou and Fan Bao and Jianfei Chen and Chongxuan Li and Jun Zhu",
            year=2022,
            arxiv="2206.00927",
            code="LuChengTHU/dpm-solver",
        ),
    ),
)


class DPM2(Solver):
    """The solver.

    Attributes:
        order: the number of stages, 1 (Euler) or 2.
        midpoint: where the second stage is, ``geometric`` or by ``alpha``.
        alpha: the second stage's place between 0 and 1, where the midpoint is ``alpha``.
        eta: the share of ancestral noise, 0 for the ODE, 1 for all of it.
        s_noise: the standard deviation of that noise, relative to what keeps the marginals.
    """

    order: int = Field(default=2, ge=1, le=2)
    midpoint: Literal["geometric", "alpha"] = "geometric"
    alpha: float = Field(default=0.5, gt=0, le=1)
    eta: float = Field(default=0.0, ge=0, le=1)
    s_noise: float = Field(default=1.0, ge=0)

    @property
    def declared_order(self) -> int | None:
        return None if self.eta else self.order

    def intervals(self, nfe: int) -> int:
        if self.order == 1:
            return nfe
        saved = int(ends_in_zero(self.grid))
        if (nfe + saved) % 2:
            near = f"{nfe - 1} or {nfe + 1}" if nfe > 1 else f"{nfe + 1}"
            raise Unsupported(f"N steps on this grid take {'2N - 1' if saved else '2N'} evaluations; use nfe {near}")
        return (nfe + saved) // 2

    def _stage(self, sigma_s: float, sigma_d: float) -> tuple[float, float]:
        """``sigma_m`` and w of a step down to ``sigma_d > 0``."""
        if self.midpoint == "geometric":
            return math.sqrt(sigma_s * sigma_d), 1.0
        return sigma_s + self.alpha * (sigma_d - sigma_s), 1 / (2 * self.alpha)

    def _ode(self, denoise: Denoiser, x: Tensor, sigma_s: float, sigma_d: float) -> Tensor:
        """The step of the ODE from ``sigma_s`` to ``sigma_d``."""
        x0_hat = denoise(x, sigma_s)
        if sigma_d == 0 or self.order == 1:
            return torch.lerp(x0_hat, x, sigma_d / sigma_s)
        sigma_m, w = self._stage(sigma_s, sigma_d)
        x_m = torch.lerp(x0_hat, x, sigma_m / sigma_s)
        length = sigma_d - sigma_s
        ahead = x_m - denoise(x_m, sigma_m)
        return x.add(x - x0_hat, alpha=(1 - w) * length / sigma_s).add_(ahead, alpha=w * length / sigma_m)

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        for sigma_s, sigma_t in grid.steps():
            sigma_u = self.eta * sigma_t * math.sqrt(1 - (sigma_t / sigma_s) ** 2)
            x = self._ode(denoise, x, sigma_s, math.sqrt(sigma_t**2 - sigma_u**2))
            if sigma_u > 0:
                x = x.add(noise.normal(), alpha=sigma_u * self.s_noise)
        return x
