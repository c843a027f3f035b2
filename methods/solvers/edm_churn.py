r"""EDM's stochastic sampler: a little noise is added before each Heun or Euler step of the ODE.

Step from ``sigma_s`` to ``sigma_t`` of a grid with N intervals, ``d(x, sigma) = (x - D(x, sigma)) / sigma``, z standard
normal::

    gamma     = min(s_churn / N, sqrt(2) - 1) if s_tmin <= sigma_s <= s_tmax else 0
    sigma_hat = (1 + gamma) sigma_s
    x_hat     = x + sqrt(sigma_hat^2 - sigma_s^2) s_noise z
    x'        = x_hat + (sigma_t - sigma_hat) d(x_hat, sigma_hat)
    x_t       = x_hat + (sigma_t - sigma_hat) (d(x_hat, sigma_hat) + d(x', sigma_t)) / 2   if sigma_t > 0, else x'

Karras, Aittala, Aila and Laine 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", arXiv
2206.00364, Algorithm 2. Heun takes 2N - 1 evaluations on a grid that ends in 0 and 2N on one that ends above, Euler
N. ``s_churn=0`` is the ODE solver. Defaults are the settings that the authors' code gives for ImageNet at 64x64, where
N is 256 and gamma 0.16; below N = 97 gamma is at its limit.

Departures:

* ``sigma_hat`` does not exceed the first level of the grid (``ceiling``): the teacher was not trained above it, and
  the authors' code passes such levels on. With ``ceiling=false`` it is theirs, and k-diffusion's ``sample_heun`` and
  ``sample_euler``.
* Noise is only drawn where gamma is above 0; they always draw, and multiply with 0.
* With churn no order is declared. Adding noise is exact in distribution for ``s_noise=1``, so on a Gaussian the
  variance converges with the slope of the ODE solver: 2 for Heun, 1 for Euler.
"""

from __future__ import annotations

import math
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver, Unsupported
from bench.grids import ends_in_zero
from bench.rng import SampleNoise

INFO = Info(
    summary="EDM's stochastic sampler: noise is added before each Heun or Euler step.",
    family="solvers",
    papers=(
        Paper(
            title="Elucidating the Design Space of Diffusion-Based Generative Models",
            authors="Tero Karras and Miika Aittala and Timo Aila and Samuli Laine",
            year=2022,
            arxiv="2206.00364",
            equation="Algorithm 2",
            code="NVlabs/edm",
        ),
    ),
)


class EDMChurn(Solver):
    """The sampler.

    Attributes:
        base: the step of the ODE, ``heun`` or ``euler``.
        s_churn: how much noise is added over the whole grid; 0 for none.
        s_tmin: the lowest noise level at which noise is added.
        s_tmax: the highest one.
        s_noise: the standard deviation of the added noise, relative to what keeps the marginals.
        ceiling: do not exceed the first level of the grid.
    """

    base: Literal["heun", "euler"] = "heun"
    s_churn: float = Field(default=40.0, ge=0)
    s_tmin: float = Field(default=0.05, ge=0)
    s_tmax: float = 50.0
    s_noise: float = Field(default=1.003, ge=0)
    ceiling: bool = True

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.s_tmin > self.s_tmax:
            raise ValueError("s_tmin must not be above s_tmax")
        return self

    @property
    def declared_order(self) -> int | None:
        if self.s_churn:
            return None
        return 2 if self.base == "heun" else 1

    def intervals(self, nfe: int) -> int:
        if self.base == "euler":
            return nfe
        saved = int(ends_in_zero(self.grid))
        if (nfe + saved) % 2:
            near = f"{nfe - 1} or {nfe + 1}" if nfe > 1 else f"{nfe + 1}"
            raise Unsupported(f"N steps on this grid take {'2N - 1' if saved else '2N'} evaluations; use nfe {near}")
        return (nfe + saved) // 2

    def _raised(self, sigma: float, grid: Grid) -> float:
        """``sigma_hat``, the level from which the step at ``sigma`` is taken."""
        if not self.s_tmin <= sigma <= self.s_tmax:
            return sigma
        raised = sigma * (1 + min(self.s_churn / (len(grid) - 1), math.sqrt(2) - 1))
        return min(raised, grid.nodes[0]) if self.ceiling else raised

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        for sigma_s, sigma_t in grid.steps():
            sigma_hat = self._raised(sigma_s, grid)
            if sigma_hat > sigma_s:
                x = x.add(noise.normal(), alpha=math.sqrt(sigma_hat**2 - sigma_s**2) * self.s_noise)
            x0_hat = denoise(x, sigma_hat)
            euler = torch.lerp(x0_hat, x, sigma_t / sigma_hat)
            if sigma_t == 0 or self.base == "euler":
                x = euler
                continue
            # x' + (sigma_t - sigma_hat) (d(x', sigma_t) - d(x_hat, sigma_hat)) / 2
            half = (sigma_hat - sigma_t) / 2
            ahead = euler - denoise(euler, sigma_t)
            x = euler.add(x - x0_hat, alpha=half / sigma_hat).sub_(ahead, alpha=half / sigma_t)
        return x
