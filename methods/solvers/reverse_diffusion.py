r"""Predictor-corrector sampling: an ancestral step after m Langevin steps at the same noise level.

With ``D = D(x, sigma_s)``, ``g = 1 - sigma_t^2 / sigma_s^2`` and z standard normal::

    corrector   score = (D - x) / sigma_s^2                                            m times
                x <- x + e score + sqrt(2 e) z
                e = 2 alpha (snr |z| / |score|)^2  (langevin)    or    2 alpha (snr sigma_s)^2  (annealed)

    predictor   reverse_diffusion, ve   x_t = x + g (D - x) + sqrt(sigma_s^2 - sigma_t^2) z
                reverse_diffusion, vp   x_t = k ((2 - k) x + g (D - x)) + large z
                ancestral, ve           x_t = x + g (D - x) + small z
                ancestral, vp           x_t = x + g (D - x) + large z

    small^2 = sigma_t^2 g,   large^2 = (1 + sigma_t^2) (1 - k^2),   k^2 = (1 + sigma_t^2) / (1 + sigma_s^2)

``k^2 = 1 - beta`` of the variance-preserving process between the two levels, whatever the teacher's own process is;
``alpha`` is 1 for ``ve`` and ``1 - beta`` for ``vp``. The ancestral predictors are DDPM's two variances.

Song et al. 2021, "Score-Based Generative Modeling through Stochastic Differential Equations", arXiv 2011.13456,
Sec. 4.2. N intervals take exactly ``N (1 + m)`` evaluations.

Departures and variants:

* As in the authors' code the corrector comes before the predictor, so a step to 0, which draws no noise in the
  predictor, ends the chain. For ``ve`` and ``ancestral`` that step gives D.
* The authors average ``|z|`` and ``|score|`` over the batch, so that a sample depends on the others: ``norms=batch``.
  Here they are each sample's own. Results with ``norms=batch`` hold for one batch size only.
* Stochastic: no order is declared. The variance of a Gaussian converges with slope 1 without a corrector.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver, Unsupported
from bench.rng import SampleNoise

INFO = Info(
    summary="Score SDE's predictor-corrector sampler: reverse diffusion or ancestral steps, Langevin corrections.",
    family="solvers",
    papers=(
        Paper(
            title="Score-Based Generative Modeling through Stochastic Differential Equations",
            authors=(
                "Yang Song and Jascha Sohl-Dickstein and Diederik P. Kingma and Abhishek Kumar and Stefano Ermon "
                "and Ben Poole"
            ),
            year=2021,
            arxiv="2011.13456",
            equation="Sec. 4.2",
            code="yang-song/score_sde_pytorch",
        ),
    ),
)


def _norm(x: Tensor) -> Tensor:
    """(B, 1, ...): the Euclidean norm of each sample of x (B, ...)."""
    norms: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norms.view(-1, *[1] * (x.ndim - 1))


def _keep(sigma_s: float, sigma_t: float) -> float:
    """``k^2 = 1 - beta``."""
    return (1 + sigma_t**2) / (1 + sigma_s**2)


class ReverseDiffusion(Solver):
    """The sampler.

    Attributes:
        predictor: the step between two levels; see the module.
        sde: the process whose discretisation is reversed.
        corrector_steps: m, the Langevin steps at each level; 0 for the predictor alone.
        corrector: its step size, ``langevin`` (from norms) or ``annealed`` (from sigma).
        snr: the signal-to-noise ratio of a Langevin step.
        norms: of each ``sample``, or their mean over the ``batch``, which makes samples depend on each other.
    """

    predictor: Literal["reverse_diffusion", "ancestral"] = "reverse_diffusion"
    sde: Literal["ve", "vp"] = "ve"
    corrector_steps: int = Field(default=1, ge=0)
    corrector: Literal["langevin", "annealed"] = "langevin"
    snr: float = Field(default=0.16, gt=0)
    norms: Literal["sample", "batch"] = "sample"

    def intervals(self, nfe: int) -> int:
        cost = 1 + self.corrector_steps
        if nfe % cost:
            low = nfe - nfe % cost
            near = f"{low} or {low + cost}" if low else f"{cost}"
            raise Unsupported(
                f"each level takes {cost} evaluations, m = {self.corrector_steps} of them; use nfe {near}"
            )
        return nfe // cost

    def _correct(self, x: Tensor, x0_hat: Tensor, z: Tensor, sigma: float, alpha: float) -> Tensor:
        """One Langevin step at ``sigma``; z is standard normal."""
        score = (x0_hat - x) / sigma**2
        if self.corrector == "annealed":
            step = torch.full_like(_norm(z), 2 * alpha * (self.snr * sigma) ** 2)
        else:
            z_norm, score_norm = _norm(z), _norm(score)
            if self.norms == "batch":
                z_norm, score_norm = z_norm.mean(), score_norm.mean()
            step = 2 * alpha * (self.snr * z_norm / score_norm) ** 2
        return x + step * score + (2 * step).sqrt() * z

    def _predict(self, x: Tensor, x0_hat: Tensor, sigma_s: float, sigma_t: float) -> tuple[Tensor, float]:
        """The mean of the next state and the standard deviation around it."""
        g = 1 - (sigma_t / sigma_s) ** 2
        keep = _keep(sigma_s, sigma_t)
        mean = torch.lerp(x, x0_hat, g)
        if self.sde == "vp":
            if self.predictor == "reverse_diffusion":
                k = math.sqrt(keep)
                mean = mean.add(x, alpha=1 - k).mul_(k)
            return mean, math.sqrt((1 + sigma_t**2) * (1 - keep))
        level = sigma_s if self.predictor == "reverse_diffusion" else sigma_t
        return mean, level * math.sqrt(g)

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        for sigma_s, sigma_t in grid.steps():
            alpha = _keep(sigma_s, sigma_t) if self.sde == "vp" else 1.0
            for _ in range(self.corrector_steps):
                x = self._correct(x, denoise(x, sigma_s), noise.normal(), sigma_s, alpha)
            x, std = self._predict(x, denoise(x, sigma_s), sigma_s, sigma_t)
            if sigma_t > 0:
                x = x.add(noise.normal(), alpha=std)
        return x
