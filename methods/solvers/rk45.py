r"""RK45: the probability-flow ODE by the adaptive method of Dormand and Prince, each sample at its own pace.

In the state z and the time t of one of Score SDE's processes::

    ve   z = x                       sigma = sigma_min (sigma_max / sigma_min)^t       dz/dt = L (x - D)
    vp   z = x / sqrt(1 + sigma^2)   sigma^2 = e^B - 1,  B = int_0^t beta              dz/dt = c (x - D) - beta z / 2

with ``L = log(sigma_max / sigma_min)``, ``beta = 0.1 + 19.9 t`` and ``c = beta sqrt(1 + sigma^2) / (2 sigma^2)``. Of
seven slopes k_j the last is the first of the next step. A sample moves on to the solution of order 5 where

    E = rms over pixels of h sum_j e_j k_j / (atol + rtol max(|z|, |z_new|)) < 1

Song et al. 2021, arXiv 2011.13456, Sec. 4.3, whose code calls scipy's ``solve_ivp``. The pair of methods is that of
Dormand and Prince 1980 (J. Comput. Appl. Math. 6), first step and control are those of ``bench.stepcontrol``, all as in
scipy 1.17.

Departures, since a budget here is a number of evaluations that is kept exactly:

* Two evaluations find the first step and an attempt takes six, so budgets are 6 k + 2; 1 makes no step either. The
  result is the denoised image D at wherever the sample is then, known from its last slope at no cost. A budget that
  ends before most samples arrive at sigma_min shows how far the control came, not how good the method is.
* Samples that have arrived idle there; their evaluations are counted and change nothing.
* E and h are per sample; the authors integrate the whole batch as one vector, in float32.
* t ends where sigma is the suite's ``sigma_min``: 0 for ``ve``; the authors end at t = 1e-3 (VP) and 1e-5 (VE).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.api import Info, Method, Paper, Problem, Unsupported
from bench.denoiser import align
from bench.process import VPLinear
from bench.stepcontrol import bounded, choose, error_norm, first_step

INFO = Info(
    summary="Adaptive Dormand-Prince for each sample by itself, within a fixed budget.",
    family="solvers",
    papers=(
        Paper(
            title="Score-Based Generative Modeling through Stochastic Differential Equations",
            authors="Yang Song and Jascha Sohl-Dickstein and Diederik P. Kingma and Abhishek Kumar and Stefano Ermon "
            "and Ben Poole",
            year=2021,
            arxiv="2011.13456",
            equation="Sec. 4.3",
            code="yang-song/score_sde_pytorch",
        ),
    ),
)

NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),  # also the step itself
)
ERROR = (-71 / 57600, 0.0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40)

Flow = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def _combine(weights: tuple[float, ...], slopes: list[Tensor], h: Tensor) -> Tensor:
    """``h sum_j weights[j] slopes[j]`` (B, ...), h (B,)."""
    return align(h, slopes[0]) * sum((w * k for w, k in zip(weights, slopes, strict=True)), torch.zeros_like(slopes[0]))


class RK45(Method):
    """The adaptive solver, within a budget.

    Attributes:
        rtol, atol: relative and absolute tolerance. The authors' 1e-5 wants hundreds of evaluations.
        coordinates: the state and the time in which the ODE is solved and its error measured.
    """

    rtol: float = Field(default=0.05, ge=0.0)
    atol: float = Field(default=0.05, gt=0.0)
    coordinates: Literal["ve", "vp"] = "ve"

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if nfe > 1 and nfe % 6 != 2:
            near = f"{nfe - (nfe - 2) % 6} or {nfe + (2 - nfe) % 6}" if nfe > 2 else "1 or 8"
            raise Unsupported(f"RK45 finds its first step with 2 evaluations and takes 6 per attempt; use nfe {near}")
        flow, span = self._flow(problem)
        z = problem.x if self.coordinates == "ve" else problem.x * (1 + problem.sigma_max**2) ** -0.5
        t = torch.zeros(len(z), dtype=torch.float64, device=z.device)
        slope, x0_hat = flow(z, t)
        if nfe == 1:
            return x0_hat

        def ahead(h: Tensor) -> Tensor:
            return flow(z + align(h, z) * slope, h)[0]

        h = first_step(z, slope, ahead, span, 4, (self.atol, self.rtol))
        rejected = torch.zeros_like(t, dtype=torch.bool)
        for _ in range((nfe - 2) // 6):
            step = h.minimum(span - t)
            slopes, new, guess = [slope], z, x0_hat
            for node, row in zip(NODES, STAGES, strict=True):
                new = z + _combine(row, slopes, step)
                k, guess = flow(new, t + node * step)
                slopes.append(k)
            scale = self.atol + self.rtol * torch.maximum(z.abs(), new.abs())
            accept, factor = bounded(error_norm(_combine(ERROR, slopes, step), scale), 5, rejected)
            t = torch.where(accept, torch.where(h < span - t, t + step, span), t)
            z, slope, x0_hat = choose(accept, new, z), choose(accept, slopes[-1], slope), choose(accept, guess, x0_hat)
            h, rejected = step * factor, ~accept
        return x0_hat

    def _flow(self, problem: Problem) -> tuple[Flow, float]:
        """``(z (B, ...), t (B,)) -> dz/dt, D`` with t counted from the noisy end, and t of the clean end."""
        if self.coordinates == "ve":
            growth = math.log(problem.sigma_max / problem.sigma_min)

            def ve(z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
                x0_hat = problem.denoise(z, problem.sigma_max * (-growth * t).exp())
                return growth * (x0_hat - z), x0_hat

            return ve, 1.0
        process = VPLinear()
        start, end = process.time(torch.tensor([problem.sigma_max, problem.sigma_min], dtype=torch.float64)).tolist()

        def vp(z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            beta = process.beta_min + (process.beta_max - process.beta_min) * (start - t)
            sigma = process.sigma(start - t)
            scale = (1 + sigma**2).sqrt()
            x = z * align(scale, z)
            x0_hat = problem.denoise(x, sigma)
            return align(beta / 2, z) * (z - align(scale / sigma**2, z) * (x - x0_hat)), x0_hat

        return vp, start - end
