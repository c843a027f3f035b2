r"""DPM-Solver++ in single-step form (2S, 3S), as an ODE and with ancestral noise.

With ``h = lambda_t - lambda_s``, m_0, m_1, ... the predictions at ``lambda_s + c h``, ``p = 1 - e^{-h}`` and
``b_k(c) = (k h)-integral of the line through m_0 and the prediction at c``, see ``bench.exponential.stages``::

    order 2   u   = e^{-h/2} x + (1 - e^{-h/2}) m_0,   m_1 = D(u, sigma_s e^{-h/2})
              x_t = e^{-h} x + p m_1                                                   (midpoint)
              x_t = e^{-h} x + (p - b) m_0 + b m_1,    b = 2 h phi_2(-h)               (heun)
    order 3   u_1 as u with h/3, u_2 the line through m_0, m_1 integrated to 2h/3,
              x_t the line through m_0, m_2 (midpoint), or the parabola through all (heun), integrated to h

Noise: ``sigma_up = eta sigma_t sqrt(1 - sigma_t^2/sigma_s^2)`` is added at the end of a step that goes to
``sigma_down = sqrt(sigma_t^2 - sigma_up^2)``; eta = 0 is the ODE, eta = 1 the reverse SDE.

Paper: Lu et al. 2022, arXiv 2211.01095, Algorithm 1 (2S); 3S and the type ``taylor`` (heun) are the authors' code's.

An interval of order p costs p evaluations; ``plan`` divides a budget, as for DPM-Solver: ``to_zero`` (default) ends
with an interval of order 1, the step to sigma = 0; ``fast`` is the authors' list for grids that end above 0; ``full``
differs from it in order 3 only, see ``bench.exponential``.

``noise_at`` names what codes do, and where eta > 0 orders 1 and 2 have them all:

* ``end``: none inside a step (k-diffusion ``sample_dpmpp_2s_ancestral``);
* ``stages``: the step to the middle has its own noise, independent of that of the whole step (diffusers
  ``sde-dpmsolver++``), so that the covariance of both is wrong;
* ``brownian``: both are increments of one Brownian path in sigma (k-diffusion ``sample_dpmpp_sde``). The path of the
  reverse SDE is one in sigma^2 instead; ``seeds`` has it exactly.
"""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Problem, Solver, Unsupported
from bench.coefficients import combine, step_size
from bench.exponential import Plan, interval_orders, refusal, stages
from bench.rng import SampleNoise

INFO = Info(
    summary="Single-step exponential integrator for the data prediction, orders 1 to 3, with ancestral noise.",
    family="solvers",
    papers=(
        Paper(
            title="DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models",
            authors="Cheng Lu and Yuhao Zhou and Fan Bao and Jianfei Chen and Chongxuan Li and Jun Zhu",
            year=2022,
            arxiv="2211.01095",
            equation="Algorithm 1",
            code="LuChengTHU/dpm-solver",
        ),
    ),
)


class DPMSolverPPSingle(Solver):
    """DPM-Solver++(1, 2S, 3S).

    Attributes:
        order: evaluations in an interval of full order, 1 to 3.
        solver_type: the last formula of a step.
        eta: strength of the ancestral noise, 0 to 1.
        noise_at: where in a step noise is added; without noise it has no meaning.
        plan: how a budget is divided into intervals.
    """

    order: int = Field(default=2, ge=1, le=3)
    solver_type: Literal["midpoint", "heun"] = "midpoint"
    eta: float = Field(default=0.0, ge=0.0, le=1.0)
    noise_at: Literal["end", "stages", "brownian"] = "end"
    plan: Plan = "to_zero"

    @model_validator(mode="after")
    def _noise_order(self) -> Self:
        if self.order == 3 and self.noise_at != "end":
            raise ValueError("order=3 has its noise at the end: noise_at=end")
        return self

    @property
    def declared_order(self) -> int | None:
        return None if self.eta else self.order

    def orders(self, nfe: int) -> list[int]:
        """The order of each interval; their sum is ``nfe``."""
        return interval_orders(nfe, self.order, self.plan)

    def intervals(self, nfe: int) -> int:
        return len(self.orders(nfe))

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        orders = self.orders(nfe)
        grid = problem.grid(self.grid, len(orders))
        if reason := refusal(grid.nodes, orders):
            raise Unsupported(reason)
        return self._run(problem.denoise, problem.x, grid, orders, problem.noise)

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        return self._run(denoise, x, grid, [self.order] * (len(grid) - 1), noise)

    def _run(self, denoise: Denoiser, x: Tensor, grid: Grid, orders: list[int], noise: SampleNoise) -> Tensor:
        for step, order in zip(grid.steps(), orders, strict=True):
            if step[1] == 0:
                return denoise(x, step[0])
            x = self._step(denoise, x, step, order, noise)
        return x

    def _ancestral(self, sigma_s: float, sigma_t: float) -> tuple[float, float]:
        up = self.eta * sigma_t * math.sqrt(1 - (sigma_t / sigma_s) ** 2)
        return math.sqrt(sigma_t**2 - up**2), up

    def _step(self, denoise: Denoiser, x: Tensor, step: tuple[float, float], order: int, noise: SampleNoise) -> Tensor:
        sigma_s, sigma_t = step
        down, up = self._ancestral(sigma_s, sigma_t)
        h = step_size(sigma_s, down)
        *inner, (_, result) = stages(order, h, self.solver_type == "heun")
        values = [denoise(x, sigma_s)]
        old: Tensor | None = None  # noise of the middle
        share = 0.0  # of the noise of the middle in that of the step
        for c, weights in inner:
            if self.eta == 0 or self.noise_at == "end":
                decay = math.exp(-c * h)
                values.append(denoise(combine(x, decay, weights, values), sigma_s * decay))
                continue
            middle = sigma_s * (sigma_t / sigma_s) ** c
            middle_down, middle_up = self._ancestral(sigma_s, middle)
            old = noise.normal()
            u = combine(x, middle_down / sigma_s, [1 - middle_down / sigma_s, middle_up], [*values, old])
            values.append(denoise(u, middle))
            share = (sigma_s - middle) / (sigma_s - sigma_t) if self.noise_at == "brownian" else 0.0
        x = combine(x, down / sigma_s, result, values)
        if self.eta:
            x.add_(noise.normal(), alpha=up * math.sqrt(1 - share))
        return x if old is None else x.add_(old, alpha=up * math.sqrt(share))
