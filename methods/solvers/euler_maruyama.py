r"""Euler-Maruyama on the reverse-time SDE, in the time of the forward SDE.

A forward SDE ``dy = f y dt + g dw`` has the reverse ``dy = (f y - g^2 score) dt + g dw``. One step of length ``dt``
from ``sigma_s`` to ``sigma_t``, with f, g and the score at ``sigma_s`` and z standard normal::

    y_t = y - (f y - g^2 score) dt + g sqrt(dt) z

With ``y = a x`` and ``score = (D(x, sigma_s) - x) / (a_s sigma_s^2)`` that is ``x_t = p x + q (D - x) + std z``:

======  =======================================  ================================================
sde     time, f, g^2                             p, q, std^2
======  =======================================  ================================================
``ve``  ``-log sigma``, 0, ``2 sigma^2`` per t   1, ``2 h``, ``2 h sigma_s^2``; h = log(sigma_s/sigma_t)
``edm`` ``sigma``, 0, ``2 sigma``                1, ``2 (1 - r)``, ``2 (1 - r) sigma_s^2``; r = sigma_t/sigma_s
``vp``  t of beta(t), ``-beta/2``, ``beta``      ``(1 + b/2) a_s/a_t``, ``b / (a_s a_t sigma_s^2)``, ``b / a_t^2``
======  =======================================  ================================================

with ``b = beta(t_s) (t_s - t_t)``, ``a = 1 / sqrt(1 + sigma^2)`` and beta(t) from 0.1 to 20, whatever the teacher's own
process is. The three have the same limit.

Song et al. 2021, "Score-Based Generative Modeling through Stochastic Differential Equations", arXiv 2011.13456,
Sec. 4.1; ``edm`` is the SDE of ``sigma = t`` in Karras et al. 2022, arXiv 2206.00364.

Departures and limits:

* The last step is without noise in the authors' code too, but there it is one more Euler step; here a step to 0, whose
  length is infinite for ``ve``, gives D. A step to a level above 0 draws noise, also the last one.
* ``ve`` multiplies a deviation from D by ``1 - 2 h``, so it grows where a step is longer than h = 1, which is every
  step at a handful of evaluations; the authors use 1000 steps. ``edm`` stays within 1 for any step.
* Stochastic: no order is declared. The variance of a Gaussian converges with slope 1 in the number of steps.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver
from bench.process import VPLinear
from bench.rng import SampleNoise

INFO = Info(
    summary="Euler-Maruyama on the reverse-time SDE of the VE, VP or EDM process; the step to 0 only denoises.",
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
            equation="Sec. 4.1",
            code="yang-song/score_sde_pytorch",
        ),
    ),
)


def _scale(sigma: float) -> float:
    """``a``, the scale of the data in a variance-preserving process."""
    return 1 / math.sqrt(1 + sigma**2)


class EulerMaruyama(Solver):
    """The solver.

    Attributes:
        sde: whose time the steps are taken in: ``ve``, ``vp`` or ``edm``.
    """

    sde: Literal["ve", "vp", "edm"] = "ve"

    def _coefficients(self, sigma_s: float, sigma_t: float) -> tuple[float, float, float]:
        """``p, q, std`` of a step to ``sigma_t > 0``."""
        if self.sde != "vp":
            span = math.log(sigma_s / sigma_t) if self.sde == "ve" else 1 - sigma_t / sigma_s
            return 1.0, 2 * span, math.sqrt(2 * span) * sigma_s
        process = VPLinear()
        t_s, t_t = (float(t) for t in process.time(torch.tensor([sigma_s, sigma_t], dtype=torch.float64)))
        b = (process.beta_min + t_s * (process.beta_max - process.beta_min)) * (t_s - t_t)
        a_s, a_t = _scale(sigma_s), _scale(sigma_t)
        return (1 + b / 2) * a_s / a_t, b / (a_s * a_t * sigma_s**2), math.sqrt(b) / a_t

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        for sigma_s, sigma_t in grid.steps():
            x0_hat = denoise(x, sigma_s)
            if sigma_t == 0:
                return x0_hat
            p, q, std = self._coefficients(sigma_s, sigma_t)
            x = (x * (p - q)).add_(x0_hat, alpha=q).add_(noise.normal(), alpha=std)
        return x
