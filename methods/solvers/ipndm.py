r"""iPNDM: Adams-Bashforth with the weights of a constant step, on the history of noise predictions.

Update from ``sigma_s`` to ``sigma_t``, with ``eps = (x - D) / sigma`` at the last nodes, newest first:

    x_t = x + (sigma_t - sigma_s) sum_j w_j eps_j

    order 1: 1      order 2: (3, -1) / 2      order 3: (23, -16, 5) / 12      order 4: (55, -59, 37, -9) / 24

Zhang and Chen 2022, "Fast Sampling of Diffusion Models with Exponential Integrator", arXiv 2204.13902, iPNDM. The
weights are those of Liu et al. 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds", arXiv 2202.09778,
without its Runge-Kutta start: the order ramps up from 1 instead, so N steps cost N evaluations.

The weights are exact for equal steps in ``sigma``, which no grid in use has. With steps that change smoothly the order
is therefore 2 for every setting above 1, and less if neighbouring steps differ at random. The default grid is the one
of the paper: uniform in the time of the VP process with linear beta. Variable-step weights are another method (DEIS).

``afs`` (analytical first step, Dockhorn et al. 2022, arXiv 2210.05475; with these weights in diff-sampler) takes the
first noise prediction to be ``x / sqrt(1 + sigma^2)``, nearly right for data of unit variance and large sigma: n
evaluations make n + 1 steps. diffusers' ``IPNDMScheduler`` is the same recursion for a v-predicting model, on nodes of
its own (``sigma`` is the tangent of an angle).
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver
from bench.rng import SampleNoise

INFO = Info(
    summary="Adams-Bashforth of order 1 to 4 on noise predictions, with the weights of a constant step.",
    family="solvers",
    papers=(
        Paper(
            title="Fast Sampling of Diffusion Models with Exponential Integrator",
            authors="Qinsheng Zhang and Yongxin Chen",
            year=2022,
            arxiv="2204.13902",
            equation="iPNDM",
            code="qsh-zh/deis",
        ),
        Paper(
            title="Pseudo Numerical Methods for Diffusion Models on Manifolds",
            authors="Luping Liu and Yi Ren and Zhijie Lin and Zhou Zhao",
            year=2022,
            arxiv="2202.09778",
            equation="linear multi-step",
            code="luping-liu/PNDM",
        ),
    ),
)

WEIGHTS = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


class IPNDM(Solver):
    """The solver.

    Attributes:
        order: how many noise predictions are combined, 1 to 4; not the order of convergence, see above.
        afs: whether the first noise prediction is the closed form for data of unit variance.
    """

    grid: str = "vp_uniform"
    order: int = Field(default=4, ge=1, le=4)
    afs: bool = False

    @property
    def declared_order(self) -> int | None:
        return None if self.afs else min(self.order, 2)

    def intervals(self, nfe: int) -> int:
        return nfe + 1 if self.afs else nfe

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        history: list[Tensor] = []  # newest first
        for step, (sigma_s, sigma_t) in enumerate(grid.steps()):
            if self.afs and step == 0:
                eps = x / math.hypot(1, sigma_s)
            else:
                eps = torch.sub(x, denoise(x, sigma_s)).div_(sigma_s)
            history = [eps, *history[: self.order - 1]]
            h = sigma_t - sigma_s
            for weight, past in zip(WEIGHTS[len(history) - 1], history, strict=True):
                x = torch.add(x, past, alpha=weight * h)
        return x
