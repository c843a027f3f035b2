r"""DEIS: variable-step Adams-Bashforth for the predicted noise, in three variables.

With ``eps_j = (x_j - D(x_j, sigma_j)) / sigma_j`` of the current (j = 0) and older nodes::

    x_t = x_s + sum_j eps_j int_{sigma_s}^{sigma_t} L_j(u(sigma)) dsigma

where L_j are the Lagrange polynomials of the nodes in the variable u:

=========  ==============  ==============================================================================
variant    u               name elsewhere
=========  ==============  ==============================================================================
tab        teacher's time  tAB-DEIS (the paper's); equal to rhoab where t = sigma, as in an EDM process
rhoab      sigma           rhoAB-DEIS
logrho     log sigma       what diffusers calls DEIS (its ``solver_type="logrho"``)
=========  ==============  ==============================================================================

Paper: Zhang and Chen 2023, arXiv 2204.13902, Eq. 14-15.

Departures and variants:

* The default is the authors': tab with ``ab_order=3``. ``order`` counts the values of eps, as diffusers'
  ``solver_order`` does; the paper's tAB-r and the authors' ``ab_order`` = r count the degree, r = order - 1.
* The first steps have orders 1, 2, ... The single step of order 1 limits the order to 2: more is seen only as long as
  it has little to do, as from sigma = 80; from sigma = 2 the slope fell to 2. Order 4 declares nothing: at 128 to 512
  steps from sigma = 80 its slope was 3.8 to 3.9.
* A step to ``sigma_t = 0`` that is more than twice as long in u as the step before it has order 1. So it is always for
  logrho: its integral is finite, but it extrapolates eps to infinity, which made the error up to 17 times larger on a
  vp_uniform grid. So it is for tab in a VE process, where the time of the clean end is a convention.
* The authors sum 10,000 left end points for tAB; here Gauss-Legendre in ``sigma^{1/7}``.
* Lower orders at the end: none by default, as in the authors' code and diff-sampler; ``lower_final=15`` for diffusers.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver
from bench.coefficients import (
    LowerFinal,
    gauss_legendre,
    moment_weights,
    noise_weights,
    polynomial_weights,
    step_order,
    step_size,
)
from bench.rng import SampleNoise

INFO = Info(
    summary="Exponential multistep integrator for the predicted noise: polynomials in time, sigma or log sigma.",
    family="solvers",
    papers=(
        Paper(
            title="Fast Sampling of Diffusion Models with Exponential Integrator",
            authors="Qinsheng Zhang and Yongxin Chen",
            year=2023,
            arxiv="2204.13902",
            equation="Eq. 14-15",
            code="qsh-zh/deis",
        ),
    ),
)

POINTS = 64
POWER = 7


class DEIS(Solver):
    """DEIS with polynomial extrapolation of eps.

    Attributes:
        variant: the variable the polynomial is in.
        order: largest number of values of eps a step uses, 1 to 4.
        lower_final: grids of fewer intervals than this end in orders 2, 1; ``always`` or 0 (never).
    """

    variant: Literal["tab", "rhoab", "logrho"] = "tab"
    order: int = Field(default=4, ge=1, le=4)
    lower_final: LowerFinal = 0

    @property
    def declared_order(self) -> int | None:
        return self.order if self.order <= 3 else None

    def _orders(self, grid: Grid) -> list[int]:
        """The order of each step."""
        n = len(grid) - 1
        orders = [step_order(self.order, i, n, self.lower_final) for i in range(n)]
        if n > 1 and grid.nodes[-1] == 0:
            of = {"tab": grid.t, "rhoab": grid.sigma, "logrho": grid.sigma.log()}
            before, last, end = of[self.variant][-3:].tolist()
            if last - end > 2 * (before - last):
                orders[-1] = 1
        return orders

    def _weights(self, grid: Grid) -> list[list[float]]:
        """For each step the integral of L_j, newest node first."""
        nodes, times = grid.nodes, grid.t.tolist()
        moments = _moments(grid, self.order) if self.variant == "tab" else []
        weights = []
        for i, order in enumerate(self._orders(grid)):
            sigma_s, sigma_t = nodes[i], nodes[i + 1]
            used = range(i, i - order, -1)
            if order == 1:
                weights.append([sigma_t - sigma_s])
            elif self.variant == "tab":
                weights.append(moment_weights([times[j] - times[i] for j in used], moments[i][:order]))
            elif self.variant == "rhoab":
                weights.append(polynomial_weights([nodes[j] - sigma_s for j in used], sigma_t - sigma_s))
            else:
                tau = [-step_size(nodes[j], sigma_s) for j in used]
                weights.append([-sigma_s * w for w in noise_weights(tau, step_size(sigma_s, sigma_t))])
        return weights

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        history: list[Tensor] = []  # x - D, newest first
        nodes = grid.nodes
        for i, weights in enumerate(self._weights(grid)):
            sigma_s, sigma_t = nodes[i], nodes[i + 1]
            prediction = denoise(x, sigma_s)
            history = [x - prediction, *history[: self.order - 1]]
            # the first-order step exactly, then what higher orders add
            weights[0] -= sigma_t - sigma_s
            x = torch.lerp(x, prediction, 1 - sigma_t / sigma_s)
            if len(weights) > 1:
                for j, weight in enumerate(weights):
                    x.add_(history[j], alpha=weight / nodes[i - j])
        return x


def _moments(grid: Grid, count: int) -> list[list[float]]:
    """``int (t(sigma) - t_s)^k dsigma`` over each step, k < count.

    The variable of integration, sigma^{1/7}, is regular at 0 and close to log sigma far from it.
    """
    root = grid.sigma[:, None] ** (1 / POWER)
    length = root.diff(dim=0)
    u, w = gauss_legendre(POINTS)
    v = root[:-1] + u * length  # (N, POINTS)
    offset = grid.process.time((v**POWER).flatten()).view_as(v) - grid.t[:-1, None]
    measure = w * length * POWER * v ** (POWER - 1)
    return torch.stack([(measure * offset**k).sum(1) for k in range(count)], 1).tolist()
