r"""Momentum for Adams-Bashforth: Polyak's heavy ball (HB), its generalisation (GHVB) and Nesterov's.

A fractional ``order`` q is ``k - 1 + beta``: k values are combined and the velocity v has damping ``0 < beta <= 1``.
With ``eps = (x - D) / sigma``, ``nabla`` the backward difference over the steps, and A_k the Adams-Bashforth weights
of equal steps, ``A_k = sum_{j<k} gamma_j nabla^j``, gamma = 1, 1/2, 5/12, 3/8, 251/720::

    x_t = x + (sigma_t - sigma_s) d

    ghvb        v = (1 - beta) v + beta eps        d = sum_{j<k} (gamma_j + (1/beta - 1) gamma_{j-1}) nabla^j v
    hb          v = (1 - beta) v + beta A_k eps    d = v
    nesterov    v = (1 - beta) v + beta A_k eps    d = (1 - beta) v + beta A_k eps

v starts as the first eps, and k ramps up from 1: N steps cost N evaluations. An integer q has beta = 1 and is iPNDM.

Wizadwongsa, Chinchuthakun, Khungurn, Raj and Suwajanakorn 2023, "Diffusion Sampling with Momentum for Mitigating
Divergence Artifacts", arXiv 2307.11118. The authors' code tabulates the weights of ghvb for each k as polynomials in
beta; the sum above gives the same: with ``v = beta / (beta + (1 - beta) nabla) eps`` it is A_k eps but for terms
``nabla^k`` and higher. So ghvb keeps the order that its weights would have without momentum, which is 2 at most, as
they are those of equal steps; a velocity that lags behind leaves hb and nesterov at order 1. For beta below 0.2 or
above 0.8 nothing is declared: at 128 to 512 steps the slopes are still on their way (1.7 for ghvb with q = 2.05, 0.7
for nesterov with q = 2.9).

The larger the guidance, the smaller the beta that is needed; without any there is nothing to mitigate. The authors'
code also gives momentum to DPM-Solver++(2M) and to UniPC, which are not here. For a v-predicting model it starts v as
the raw output of the network; here, as the paper has it, as the first eps.
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
    summary="Adams-Bashforth with momentum: heavy ball, generalised heavy ball or Nesterov, of fractional order.",
    family="solvers",
    papers=(
        Paper(
            title="Diffusion Sampling with Momentum for Mitigating Divergence Artifacts",
            authors="Suttisak Wizadwongsa and Worameth Chinchuthakun and Pramook Khungurn and Amit Raj and "
            "Supasorn Suwajanakorn",
            year=2023,
            arxiv="2307.11118",
            equation="HB and GHVB",
            code="sWizad/momentum-diffusion",
        ),
    ),
)

GAMMA = (1.0, 1 / 2, 5 / 12, 3 / 8, 251 / 720)


class GHVB(Solver):
    """The solver.

    Attributes:
        variant: how momentum enters.
        order: q, above 0 and up to 5: ``ceil(q)`` values are combined, its fraction is beta, or 1 if it has none.
    """

    variant: Literal["ghvb", "hb", "nesterov"] = "ghvb"
    order: float = Field(default=2.5, gt=0.0, le=5.0)

    @property
    def _beta(self) -> float:
        return self.order % 1 or 1.0

    @property
    def declared_order(self) -> int | None:
        if self._beta < 1 and not 0.2 <= round(self._beta, 6) <= 0.8:
            return None
        lags = self._beta < 1 and self.variant != "ghvb"
        return 1 if lags or self.order <= 1 else 2

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        beta = self._beta
        differences: list[Tensor] = []  # of what the weights combine: itself, nabla, nabla^2, ...
        velocity: Tensor | None = None
        for sigma_s, sigma_t in grid.steps():
            eps = torch.sub(x, denoise(x, sigma_s)).div_(sigma_s)
            velocity = eps if velocity is None else velocity
            if self.variant == "ghvb":
                velocity = torch.lerp(velocity, eps, beta)
                differences = _differences(velocity, differences, math.ceil(self.order))
                direction = _sum(differences, 1 / beta - 1)
            else:
                differences = _differences(eps, differences, math.ceil(self.order))
                plain = _sum(differences, 0.0)
                velocity = torch.lerp(velocity, plain, beta)
                direction = velocity if self.variant == "hb" else torch.lerp(velocity, plain, beta)
            x = x.add(direction, alpha=sigma_t - sigma_s)
        return x


def _differences(newest: Tensor, before: list[Tensor], count: int) -> list[Tensor]:
    """Up to ``count`` backward differences of a series, from those at the step before: order 0, 1, ..."""
    found = [newest]
    for older in before[: count - 1]:
        found.append(found[-1] - older)
    return found


def _sum(differences: list[Tensor], lead: float) -> Tensor:
    """``sum_j (gamma_j + lead gamma_{j-1}) nabla^j``, without the term of gamma_{-1}."""
    total = differences[0].clone()
    for j, difference in enumerate(differences[1:], start=1):
        total.add_(difference, alpha=GAMMA[j] + lead * GAMMA[j - 1])
    return total
