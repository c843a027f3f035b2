r"""Annealed Langevin dynamics: nothing but Langevin steps at falling noise levels, then one denoising step.

At every level ``sigma > 0`` of the grid, the first included, T times, with z standard normal::

    x <- x + e score + sqrt(2 e) z,   score = (D(x, sigma) - x) / sigma^2,   e = step sigma^2
       = x + step (D(x, sigma) - x) + sqrt(2 step) sigma z

then, where the grid ends in 0, ``x <- D(x, sigma)`` at the last level. Nothing carries x from a level to the next:
the Langevin steps have to forget the noise of the level before.

Song and Ermon 2019, "Generative Modeling by Estimating Gradients of the Data Distribution", arXiv 1907.05600,
Algorithm 1; the last step is that of Song et al. 2021, arXiv 2011.13456. A grid of N intervals takes
``T N + 1`` evaluations if it ends in 0, and ``T (N + 1)`` otherwise; the published method, without denoising, is a
geometric grid that ends above 0: ``grid=logsnr[end=sigma_min]``.

Departures and variants:

* ``step`` is the authors' ``step_lr / sigma_L^2``: their code has 2e-5 with sigma_L = 0.01, which is 0.2, the default;
  the ``ald`` corrector of Score SDE is ``step = 2 snr^2``, 0.0512 for snr = 0.16.
* T is 100 in the paper; the default of 1 makes a run possible at few evaluations, not good.
* The paper starts from uniform noise, which the first level's steps must turn into noise of that level; here x is that
  already. Its code returns the state before the last step, cut to [0, 1].
* Stochastic, and biased at any number of levels: at a fixed level the variance of data N(0, s^2) settles at ``(s^2 +
  sigma^2) / (1 - step sigma^2 / (2 (s^2 + sigma^2)))``. So no order is declared.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver, Unsupported
from bench.grids import ends_in_zero
from bench.rng import SampleNoise

INFO = Info(
    summary="Langevin steps at falling noise levels and a last denoising step; no predictor.",
    family="solvers",
    papers=(
        Paper(
            title="Generative Modeling by Estimating Gradients of the Data Distribution",
            authors="Yang Song and Stefano Ermon",
            year=2019,
            arxiv="1907.05600",
            equation="Algorithm 1",
            code="ermongroup/ncsn",
        ),
        Paper(
            title="Score-Based Generative Modeling through Stochastic Differential Equations",
            authors=(
                "Yang Song and Jascha Sohl-Dickstein and Diederik P. Kingma and Abhishek Kumar and Stefano Ermon "
                "and Ben Poole"
            ),
            year=2021,
            arxiv="2011.13456",
            code="yang-song/score_sde_pytorch",
        ),
    ),
)


class AnnealedLangevin(Solver):
    """The sampler.

    Attributes:
        steps: T, the Langevin steps at each level.
        step: the size of a step in units of sigma^2; the noise of a level grows without bound from 2 on.
    """

    steps: int = Field(default=1, ge=1)
    step: float = Field(default=0.2, gt=0, lt=2)

    def intervals(self, nfe: int) -> int:
        zero = ends_in_zero(self.grid)
        levels, left = divmod(nfe - zero, self.steps)  # levels that Langevin steps are taken at
        intervals = levels if zero else levels - 1
        if left or intervals < 1:
            count = "T N + 1" if zero else "T (N + 1)"
            # the smallest budget is one interval
            least = self.steps + 1 if zero else 2 * self.steps
            near = [n for n in (nfe - left, nfe - left + self.steps) if n >= least] or [least]
            raise Unsupported(
                f"N intervals of {self.steps} Langevin steps take {count} evaluations on this grid; "
                f"use nfe {' or '.join(map(str, near))}"
            )
        return intervals

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        spread = math.sqrt(2 * self.step)
        levels = [sigma for sigma in grid.nodes if sigma > 0]
        for sigma in levels:
            for _ in range(self.steps):
                x = torch.lerp(x, denoise(x, sigma), self.step).add_(noise.normal(), alpha=spread * sigma)
        return denoise(x, levels[-1]) if grid.nodes[-1] == 0 else x
