r"""A reverse step with a covariance of x0: what Analytic-DPM and its successors do once they know one.

Given x0, a step of the forward process with parameter eta has the posterior (Song et al. 2021, arXiv 2010.02502, Eq.
7, here for alpha = 1; ``eta = 1`` is DDPM's)::

    x_t = x0 + sqrt(sigma_t^2 - lambda^2) (x_s - x0) / sigma_s + lambda z
    lambda^2 = eta^2 sigma_t^2 (1 - sigma_t^2 / sigma_s^2)

x0 has mean D and covariance C given x_s, so x_t has the variance

    lambda^2 + (1 - sqrt(sigma_t^2 - lambda^2) / sigma_s)^2 C

(Bao et al. 2022, arXiv 2201.06503, Theorem 1.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench.denoiser import Denoiser
from bench.grids import Grid
from bench.rng import SampleNoise

Form = Literal["ddpm", "ddim"]
Covariance = Callable[[Tensor, Tensor, float], Tensor]
"""``C`` from x and D (B, ...) and sigma: one number, or of a shape that broadcasts to that of x."""


@dataclass(frozen=True)
class Reverse:
    """How to step.

    Attributes:
        form: where D is clipped, whether the noise in x_s is computed from the clipped D (``ddpm``) or not (``ddim``).
        eta: of the forward process.
        bound: the data are known to lie in [-bound, bound], so D does and C is at most ``bound^2``; 0 for no bound.
        clip_steps: in how many of the last steps that add noise its variance is clipped.
        clip_pixel: to what: this mean absolute value in grey levels of 255 over [-1, 1], in the teacher's own scale.
    """

    form: Form
    eta: float
    bound: float
    clip_steps: int
    clip_pixel: float

    def _ceiling(self, grid: Grid, step: int) -> float:
        """The largest variance of the noise that this step may add."""
        noisy = sum(sigma > 0 for sigma in grid.nodes[1:])
        if step < noisy - self.clip_steps:
            return math.inf
        alpha = float(grid.process.alpha(grid.t[step + 1]))
        return (self.clip_pixel * 2 / 255 * math.sqrt(math.pi / 2) / alpha) ** 2

    def run(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise, covariance: Covariance) -> Tensor:
        """From ``grid.sigma[0]`` to its end; x (B, ...). A step to 0 adds no noise."""
        for i, (sigma_s, sigma_t) in enumerate(grid.steps()):
            raw = denoise(x, sigma_s)
            x0_hat = raw.clamp(-self.bound, self.bound) if self.bound else raw
            if sigma_t == 0:
                return x0_hat
            own = (self.eta * sigma_t) ** 2 * (1 - (sigma_t / sigma_s) ** 2)
            kept = math.sqrt(sigma_t**2 - own) / sigma_s
            spread = covariance(x, raw, sigma_s).clamp(0, self.bound**2 if self.bound else None)
            variance = (own + (1 - kept) ** 2 * spread).clamp(max=self._ceiling(grid, i))
            from_x0 = x0_hat if self.form == "ddpm" else raw
            x = x0_hat + kept * (x - from_x0) + variance.sqrt().to(x) * noise.normal()
        return x


def interpolate(sigma: Tensor, values: Tensor, at: float) -> Tensor:
    """Values (M,) given at ``sigma`` (M,), decreasing: linear in log sigma, constant beyond the ends."""
    log, value = -sigma.to(torch.float64).log(), values.to(torch.float64)
    place = torch.tensor(-math.log(at), dtype=torch.float64, device=log.device)
    right = int(torch.searchsorted(log, place).clamp(1, len(log) - 1))
    share = ((place - log[right - 1]) / (log[right] - log[right - 1])).clamp(0, 1)
    return torch.lerp(value[right - 1], value[right], share)
