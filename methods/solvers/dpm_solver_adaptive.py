r"""DPM-Solver-12 and -23: DPM-Solver with adaptive steps in ``lambda = -log sigma``, each sample at its own pace.

A sample at lambda_s attempts a step of length h with two solvers that share evaluations, e_r the noise predicted at
``lambda_s + r h``, ``v(z) = (e^z - 1)/z - 1``, ``e_0`` being that at x::

    first    x_t = x + (sigma_t - sigma_s) e_0
    second   x_t = x + (sigma_t - sigma_s) (e_0 + (e_r - e_0) / 2r),    e_r at u = x + (sigma_r - sigma_s) e_0
    third    u   = x + (sigma_{2/3} - sigma_s) e_0 - 2 sigma_{2/3} v(2h/3) (e_{1/3} - e_0)
             x_t = x + (sigma_t - sigma_s) e_0 - 3/2 sigma_t v(h) (e_{2/3} - e_0)
    error    E   = rms over pixels of (x_high - x_low) / max(atol, rtol max(|x_low|, |x_low of the last step|))

``order=2`` pairs first and second (r = 1/2), ``order=3`` second (r = 1/3) and third. If E <= 1 the sample moves on to
the higher solution; either way ``h <- min(theta h E^{-1/order}, what is left)``.

Paper: Lu et al. 2022, arXiv 2206.00927, the appendix on adaptive step sizes; the constants are those of the authors'
code. ``variant=dpm_solver`` measures E in the variance-preserving state ``x / sqrt(1 + sigma^2)``;
``variant=k_diffusion`` measures it in x and has another controller (see ``bench.stepcontrol``), without theta.

Departures, since a budget here is a number of evaluations that is kept exactly:

* The last evaluation is the denoised image ``D(x, sigma)`` at wherever the sample is then. At sigma_min, with
  evaluations to spare, this is the authors' ``denoise_to_zero=True``; before, detail is missing: a small budget shows
  how far the controller came from its first step of 0.05, nothing more.
* An attempt costs ``order`` evaluations. What is left over after the last whole one (fewer than ``order``) makes one
  step of that lower order and the length proposed, unchecked.
* Samples that have arrived idle at sigma_min; their evaluations are counted and change nothing.
* E, h and lambda are per sample; the authors take the largest E of the batch, k-diffusion one norm over all of it.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Info, Method, Paper, Problem
from bench.denoiser import align
from bench.stepcontrol import arctangent, choose, error_norm, proportional

INFO = Info(
    summary="DPM-Solver-12 and -23: adaptive steps for each sample by itself, within a fixed budget.",
    family="solvers",
    papers=(
        Paper(
            title="DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps",
            authors="Cheng Lu and Yuhao Zhou and Fan Bao and Jianfei Chen and Chongxuan Li and Jun Zhu",
            year=2022,
            arxiv="2206.00927",
            code="LuChengTHU/dpm-solver",
        ),
    ),
)


def _v(z: Tensor) -> Tensor:
    """``(e^z - 1)/z - 1``, with its limit 0 at 0."""
    return torch.where(z == 0, 0.0, torch.expm1(z) / z - 1)


def solve(denoise: Denoiser, x: Tensor, lam: Tensor, h: Tensor, order: tuple[int, float]) -> tuple[Tensor, Tensor]:
    """One step of every sample, from lam to lam + h, both (B,) float64.

    Args:
        denoise: called as often as the order says.
        x: (B, ...) states.
        lam, h: (B,) where each sample is, and the length of its step.
        order: 1 to 3, and r of the second-order solution; order 3 needs r = 1/3.

    Returns:
        The solution of one order less (x itself for order 1) and that of the order, (B, ...).
    """

    def move(share: float) -> Tensor:
        return align((-(lam + share * h)).exp() - (-lam).exp(), x)

    def noise(u: Tensor, share: float) -> Tensor:
        sigma = (-(lam + share * h)).exp()
        return (u - denoise(u, sigma)) / align(sigma, x)

    evaluations, r = order
    e_0 = noise(x, 0.0)
    first = x + move(1.0) * e_0
    if evaluations == 1:
        return x, first
    change = noise(x + move(r) * e_0, r) - e_0
    second = first + move(1.0) / (2 * r) * change
    if evaluations == 2:
        return first, second
    sigma = (-(lam + 2 / 3 * h)).exp()
    u = x + move(2 / 3) * e_0 - align(2 * sigma * _v(2 / 3 * h), x) * change
    change = noise(u, 2 / 3) - e_0
    return second, first - align(1.5 * (-(lam + h)).exp() * _v(h), x) * change


class DPMSolverAdaptive(Method):
    """The adaptive solvers, within a budget.

    Attributes:
        order: 2 for DPM-Solver-12, 3 for DPM-Solver-23; the evaluations of an attempt.
        atol, rtol: absolute and relative tolerance, in units of the data.
        theta: safety factor of the step size; ``variant=dpm_solver`` only.
        h_init: the first step, in lambda.
        variant: whose controller and whose error.
    """

    order: int = Field(default=2, ge=2, le=3)
    atol: float = Field(default=0.0078, gt=0.0)
    rtol: float = Field(default=0.05, ge=0.0)
    theta: float = Field(default=0.9, gt=0.0, le=1.0)
    h_init: float = Field(default=0.05, gt=0.0)
    variant: Literal["dpm_solver", "k_diffusion"] = "dpm_solver"

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        x, denoise = problem.x, problem.denoise
        last = -math.log(problem.sigma_min)
        lam = torch.full((len(x),), -math.log(problem.sigma_max), dtype=torch.float64, device=x.device)
        h = torch.full_like(lam, self.h_init)
        r = 1 / self.order
        low_before = self._measured(x, lam)
        attempts, rest = divmod(nfe - 1, self.order)
        for _ in range(attempts):
            step = torch.minimum(h, last - lam)
            ahead = torch.where(h < last - lam, lam + h, last)
            low, high = solve(denoise, x, lam, step, (self.order, r))
            measured = self._measured(low, ahead)
            scale = torch.maximum(measured.abs(), low_before.abs()).mul_(self.rtol).clamp_(min=self.atol)
            error = error_norm(self._measured(high, ahead) - measured, scale)
            accept, h = self._control(error, h, step)
            x, low_before = choose(accept, high, x), choose(accept, measured, low_before)
            lam = torch.where(accept, ahead, lam)
        if rest:
            step = torch.minimum(h, last - lam)
            x, lam = solve(denoise, x, lam, step, (rest, r))[1], lam + step
        return denoise(x, (-lam).exp())

    def _measured(self, x: Tensor, lam: Tensor) -> Tensor:
        """(B, ...): the state whose error is measured."""
        return x if self.variant == "k_diffusion" else x * align((1 + (-2 * lam).exp()).rsqrt(), x)

    def _control(self, error: Tensor, h: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """Whether each sample takes its step (B,), and the length it proposes next (B,)."""
        if self.variant == "k_diffusion":  # the proposal is not cut at the end of the range
            accept, factor = arctangent(error, self.order)
            return accept, h * factor
        accept, factor = proportional(error, self.order, self.theta)
        return accept, torch.where(step > 0, step * factor, 0.0)
