r"""SEEDS-1, -2, -3: single-step exponential integrators for the diffusion SDE, with one consistent noise path.

A step from ``sigma_s`` to ``sigma_t`` with ``h = lambda_t - lambda_s`` has the nodes ``sigma_c = sigma_s e^{-ch}``,
c = 1/2 (order 2) or 1/3 and 2/3 (order 3), and ``k = 1 + eta``; at a node (c = 1 is the result)::

    data    x_c = e^{-kch} x + sum_j w_j(kh) D_j + n_c
            n_c = (sigma_c/sigma_b)^k n_b + sigma_c sqrt(1 - (sigma_c/sigma_b)^{2 eta}) z_c
    noise   x_c = x + k sigma_c sum_j w_j(-h) eps_j + n_c,   n_c = n_b + sqrt(eta (sigma_b^2 - sigma_c^2)) z_c

where b is the node before c, ``n_s = 0``, ``eps = (x - D)/sigma`` and w_j(h) the weights of a step of length h of
``bench.exponential.stages``, which the result uses plainly (tableau a) or in full (tableau b). ``eta = 1`` is the
reverse SDE of the paper; ``eta = 0`` the ODE: DPM-Solver (noise) and DPM-Solver++ (data) in single-step form.

Paper: Gonzalez et al. 2023, arXiv 2305.14267.

Departures from the authors' code: there the last interval leaves x as it is, here the step to sigma = 0 is the
prediction. It has the noise prediction by default, here the data prediction is, whose steps are averages. Its order 3
has slips that are not followed: with the data prediction, phi_2 of the stage at 2/3 has another argument; with the
noise prediction, the noise of that stage has another level and the weights of z_1 and z_2 in the result are exchanged,
so that the increments are not those of one path. eta is ComfyUI's.

An interval of order p costs p evaluations; ``plan`` divides a budget, as for DPM-Solver: ``to_zero`` (default) ends
with an interval of order 1, the step to sigma = 0; ``full`` (the authors') and ``fast`` are for grids that end above 0.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Problem, Solver, Unsupported
from bench.coefficients import combine, step_size
from bench.exponential import Plan, interval_orders, refusal, stages
from bench.rng import SampleNoise

INFO = Info(
    summary="Single-step exponential integrator for the diffusion SDE with a consistent noise path, orders 1 to 3.",
    family="solvers",
    papers=(
        Paper(
            title="SEEDS: Exponential SDE Solvers for Fast High-Quality Sampling from Diffusion Models",
            authors="Martin Gonzalez and Nelson Fernandez and Thuy Tran and Elies Gherbi and Hatem Hajri and "
            "Nader Masmoudi",
            year=2023,
            arxiv="2305.14267",
            code="nfsrules/SEEDS",
        ),
    ),
)


class SEEDS(Solver):
    """SEEDS-1, -2 and -3.

    Attributes:
        order: evaluations in an interval of full order, 1 to 3.
        prediction: what the polynomial is through: the predicted data, or the predicted noise.
        tableau: the authors' 2a and 3a, or 2b and 3b.
        eta: strength of the noise; 1 is the reverse SDE, 0 the ODE.
        plan: how a budget is divided into intervals.
    """

    order: int = Field(default=2, ge=1, le=3)
    prediction: Literal["data", "noise"] = "data"
    tableau: Literal["a", "b"] = "a"
    eta: float = Field(default=1.0, ge=0.0, le=4.0)
    plan: Plan = "to_zero"

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

    def _linear(self, sigma_s: float, sigma_t: float) -> tuple[float, float]:
        """What the linear part makes of a state, and the standard deviation of the noise it has gathered."""
        if self.prediction == "noise":
            return 1.0, math.sqrt(self.eta * (sigma_s**2 - sigma_t**2))
        h = step_size(sigma_s, sigma_t)
        return math.exp(-(1 + self.eta) * h), sigma_t * math.sqrt(-math.expm1(-2 * self.eta * h))

    def _step(self, denoise: Denoiser, x: Tensor, step: tuple[float, float], order: int, noise: SampleNoise) -> Tensor:
        h = step_size(*step)
        k = 1 + self.eta
        data = self.prediction == "data"
        before, state = step[0], x
        values: list[Tensor] = []
        path: Tensor | None = None  # the noise gathered since the step began
        for c, weights in stages(order, k * h if data else -h, self.tableau == "b"):
            prediction = denoise(state, before)
            values.append(prediction if data else (state - prediction).div_(before))
            sigma_c = step[0] * math.exp(-c * h)
            scaled = weights if data else [k * sigma_c * weight for weight in weights]
            state = combine(x, self._linear(step[0], sigma_c)[0], scaled, values)
            if self.eta:
                decay, deviation = self._linear(before, sigma_c)
                fresh = noise.normal().mul_(deviation)
                path = fresh if path is None else fresh.add_(path, alpha=decay)
                state.add_(path)
            before = sigma_c
        return state
