r"""SDE-DPM-Solver++: multistep exponential integrator for the data prediction along the diffusion SDE.

With ``h = lambda_t - lambda_s``, ``k = 1 + eta``, older steps and predictions as in DPM-Solver++ and z standard
normal::

    x_t = (sigma_t/sigma_s)^k x_s + sum_j w_j m_j + sigma_t sqrt(1 - e^{-2 eta h}) z

where ``w_j`` are the weights of DPM-Solver++(1, 2M, 3M) with all lengths multiplied by k: for order 2 and
``p = 1 - e^{-kh}``, ``D_1 = (m_0 - m_1)/r_0``, they give ``p m_0 + p/2 D_1`` (midpoint) or ``p m_0 + k h phi_2(-k h)
D_1`` (heun). ``eta = 1`` is the reverse SDE, ``eta = 0`` the ODE; every eta >= 0 has the same marginals.

Paper: Lu et al. 2022, arXiv 2211.01095, the section on SDEs (orders 1 and 2M with eta = 1). eta and 3M are
k-diffusion's (``sample_dpmpp_2m_sde``, ``sample_dpmpp_3m_sde``).

Departures and variants:

* The first steps have orders 1, 2, ...; a step to ``sigma_t = 0`` has order 1 and draws no noise.
* Order 3 in all codes has half the second derivative where the formula needs all of it, as in DPM-Solver++; ``fix_3m``
  repairs it. k-diffusion's second step of 3M is ``solver_type=heun``.
* diffusers is ``lower_final=15`` with eta = 1. Its 3M, in which the sign of the second difference was right only for
  the ODE once, agrees today.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver
from bench.coefficients import LowerFinal, combine, step_order, step_size
from bench.exponential import multistep_weights
from bench.rng import SampleNoise
from bench.threshold import dynamic_threshold

INFO = Info(
    summary="Multistep exponential integrator for the data prediction along the diffusion SDE, orders 1 to 3.",
    family="solvers",
    papers=(
        Paper(
            title="DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models",
            authors="Cheng Lu and Yuhao Zhou and Fan Bao and Jianfei Chen and Chongxuan Li and Jun Zhu",
            year=2022,
            arxiv="2211.01095",
            code="LuChengTHU/dpm-solver",
        ),
    ),
)


class DPMSolverPPSDE(Solver):
    """SDE-DPM-Solver++(1, 2M, 3M).

    Attributes:
        order: largest number of predictions a step uses, 1 to 3.
        eta: strength of the noise; 1 is the reverse SDE, 0 the ODE.
        solver_type: the second-order formula; also of the second step of order 3.
        fix_3m: the factor 2 that makes the third-order formula exact for parabolas.
        lower_final: grids of fewer intervals than this end in orders 2, 1; ``always`` or 0 (never).
        threshold: quantile of dynamic thresholding, such as 0.995; 0 is off. Not for latents.
    """

    order: int = Field(default=2, ge=1, le=3)
    eta: float = Field(default=1.0, ge=0.0, le=4.0)
    solver_type: Literal["midpoint", "heun"] = "midpoint"
    fix_3m: bool = False
    lower_final: LowerFinal = 0
    threshold: float = Field(default=0.0, ge=0.0, le=1.0)

    @property
    def declared_order(self) -> int | None:
        if self.eta or self.threshold:
            return None
        return self.order if self.fix_3m else min(self.order, 2)

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        history: list[Tensor] = []  # predictions, newest first
        spans: list[float] = []  # k times the lengths of the steps, newest first
        k = 1 + self.eta
        for i, (sigma_s, sigma_t) in enumerate(grid.steps()):
            prediction = dynamic_threshold(denoise(x, sigma_s), self.threshold)
            if sigma_t == 0:
                return prediction
            history = [prediction, *history[: self.order - 1]]
            order = step_order(self.order, i, len(grid) - 1, self.lower_final)
            h = step_size(sigma_s, sigma_t)
            curvature = 2 if self.fix_3m else 1
            weights = multistep_weights(k * h, spans[: order - 1], self.solver_type == "midpoint", curvature)
            x = combine(x, (sigma_t / sigma_s) ** k, weights, history[:order])
            if self.eta:
                x.add_(noise.normal(), alpha=sigma_t * math.sqrt(-math.expm1(-2 * self.eta * h)))
            spans = [k * h, *spans[:1]]
        return x
