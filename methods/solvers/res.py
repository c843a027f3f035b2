r"""RES, the refined exponential solver: second-order exponential integrators that meet the stiff order conditions.

With ``h = lambda_t - lambda_s``, ``b = h phi_2(-h) / c`` and D_0 the prediction at ``(x, sigma_s)``::

    single-step   u   = e^{-ch} x + (1 - e^{-ch}) D_0,  D_1 = D(u, sigma_s e^{-ch}),  0 < c <= 1
                  x_t = e^{-h} x + (1 - e^{-h} - b) D_0 + b D_1
    multistep     the same x_t with D_1 the prediction one step earlier, of length h_0, and c = -h_0 / h

so the step is exact whenever D is linear in lambda, which is what the second-order conditions of Hochbruck and
Ostermann ask for; DPM-Solver++(2S) has ``b = (1 - e^{-h}) / 2c`` and meets them only as h goes to 0.

Paper: Zhang et al. 2023, arXiv 2308.02157; an author's code is ``2mid`` and ``2ab`` in nvidia-cosmos/cosmos-predict1.

An interval of the single-step form costs 2 evaluations; ``plan`` divides a budget, as for DPM-Solver: ``to_zero``
(default) ends with an interval of order 1, the step to sigma = 0, where h is infinite; ``full`` (or ``fast``, the same
here) has full intervals and one of order 1 if a single evaluation is left over, and without one must end above 0.

Relations: with c = 1/2 the single-step form is DPM-Solver++(2S) of the type ``taylor`` in its authors' code, here
``dpm_solver_pp_single[solver_type=heun]``; the multistep form is ``dpm_solver_pp[solver_type=heun]``. The churn that
the paper adds to make it stochastic is not here.
"""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Problem, Solver, Unsupported
from bench.coefficients import combine, data_weights, step_size
from bench.exponential import Plan, interval_orders, refusal, stages
from bench.rng import SampleNoise

INFO = Info(
    summary="Second-order exponential integrator that meets the stiff order conditions, single-step or multistep.",
    family="solvers",
    papers=(
        Paper(
            title="Improved Order Analysis and Design of Exponential Integrator for Diffusion Models Sampling",
            authors="Qinsheng Zhang and Jiaming Song and Yongxin Chen",
            year=2023,
            arxiv="2308.02157",
            code="nvidia-cosmos/cosmos-predict1",
        ),
    ),
)


class RES(Solver):
    """The refined exponential solver of order 2.

    Attributes:
        c: node of the single-step form, as a share of the step in lambda.
        multistep: use the prediction of the step before instead of a new one.
        plan: how a budget is divided into intervals of the single-step form.
    """

    c: float = Field(default=0.5, gt=0.0, le=1.0)
    multistep: bool = False
    plan: Plan = "to_zero"

    @property
    def declared_order(self) -> int | None:
        return 2

    def orders(self, nfe: int) -> list[int]:
        """The order of each interval of the single-step form."""
        return interval_orders(nfe, 2, self.plan)

    def intervals(self, nfe: int) -> int:
        return nfe if self.multistep else len(self.orders(nfe))

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if self.multistep:
            return super().sample(problem, nfe)
        orders = self.orders(nfe)
        grid = problem.grid(self.grid, len(orders))
        if reason := refusal(grid.nodes, orders):
            raise Unsupported(reason)
        return self._single(problem.denoise, problem.x, grid, orders)

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        if self.multistep:
            return self._multi(denoise, x, grid)
        return self._single(denoise, x, grid, [2] * (len(grid) - 1))

    def _single(self, denoise: Denoiser, x: Tensor, grid: Grid, orders: list[int]) -> Tensor:
        for (sigma_s, sigma_t), order in zip(grid.steps(), orders, strict=True):
            values = [denoise(x, sigma_s)]
            if sigma_t == 0:
                return values[0]
            h = step_size(sigma_s, sigma_t)
            *inner, (_, result) = stages(order, h, exact=True, c=self.c)
            for c, weights in inner:
                decay = math.exp(-c * h)
                values.append(denoise(combine(x, decay, weights, values), sigma_s * decay))
            x = combine(x, sigma_t / sigma_s, result, values)
        return x

    def _multi(self, denoise: Denoiser, x: Tensor, grid: Grid) -> Tensor:
        values: list[Tensor] = []  # newest first
        length = 0.0  # of the step before
        for sigma_s, sigma_t in grid.steps():
            values = [denoise(x, sigma_s), *values[:1]]
            if sigma_t == 0:
                return values[0]
            h = step_size(sigma_s, sigma_t)
            x = combine(x, sigma_t / sigma_s, data_weights([0.0, -length][: len(values)], h), values)
            length = h
        return x
