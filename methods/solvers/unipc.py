r"""UniPC: a multistep predictor and a corrector that reuses the evaluation at the new node.

With ``h = lambda_t - lambda_s``, ``m_0`` the current prediction and ``m_1, m_2`` the older ones, ``L_j`` the Lagrange
polynomials of their nodes in lambda and ``B(h) = -h`` (bh1) or ``e^{-h} - 1`` (bh2)::

    UniP-p  x_t = (sigma_t/sigma_s) x_s + sum_j m_j int_0^h e^{tau-h} L_j(tau) dtau,  nodes of m_0 .. m_{p-1}
    UniC-p  the same through m_t = D(x_t, sigma_t) as well, replacing x_t; the next step starts there and keeps m_t
    UniP-2  ... - B(h)/2 (m_1 - m_0)/r_1,  r_1 = (lambda_1 - lambda_s)/h
    UniC-1  ... - B(h)/2 (m_t - m_0)

The paper solves ``R rho = b / B(h)`` and multiplies with B(h), so that B drops out of every formula but the two that
the authors simplify, the last two lines: that is all that bh1 and bh2 differ in.

Paper: Zhao et al. 2023, arXiv 2302.04867, Algorithms 1 (UniC) and 2 (UniP), in their data-prediction form.

Departures and variants:

* One evaluation per interval: a step's corrector waits for the evaluation that the next step needs anyway, so the last
  step has none. ``corrector_last`` spends one more evaluation on it (diff-sampler does, unreported, at 1 and 2 steps).
* The first steps have orders 1, 2, ...; a step to ``sigma_t = 0`` has order 1, since h is infinite.
* bh2 and order 2 are the defaults, as in diffusers; the authors' code has bh1. On a Karras grid that ends in 0, 5 to 10
  evaluations, the error of bh1 was 2 to 5 times that of bh2 on both test mixtures.
* The order is p + 1 with the corrector and p without. A single first step limits it to 3 and 2: at p = 3 more is seen
  only as long as that step has little to do, as from sigma = 80; from sigma = 2 the slope fell towards 3 and 2.
* Lower orders at the end: none by default; ``lower_final=always`` is what the three other codes do (diff-sampler with
  ``threshold=0.995``). With fewer intervals than the order the authors refuse, diffusers lowers the end here too, and
  diff-sampler does not (``lower_final=0``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver, Unsupported
from bench.coefficients import LowerFinal, combine, data_weights, step_order, step_size
from bench.rng import SampleNoise
from bench.threshold import dynamic_threshold

INFO = Info(
    summary="Multistep exponential integrator with a corrector that costs no evaluation.",
    family="solvers",
    papers=(
        Paper(
            title="UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models",
            authors="Wenliang Zhao and Lujia Bai and Yongming Rao and Jie Zhou and Jiwen Lu",
            year=2023,
            arxiv="2302.04867",
            equation="Algorithms 1 and 2",
            code="wl-zhao/UniPC",
        ),
    ),
)


class UniPC(Solver):
    """UniPC-p with B(h).

    Attributes:
        order: p, the largest number of predictions a predictor step uses, 1 to 3.
        variant: B(h).
        corrector: whether UniC runs at all.
        corrector_last: whether it also runs on the last step, for one more evaluation; the grid must end above 0.
        lower_final: grids of fewer intervals than this end in orders 2, 1; ``always`` or 0 (never).
        threshold: quantile of dynamic thresholding, such as 0.995; 0 is off. Not for latents.
    """

    order: int = Field(default=2, ge=1, le=3)
    variant: Literal["bh1", "bh2"] = "bh2"
    corrector: bool = True
    corrector_last: bool = False
    lower_final: LowerFinal = 0
    threshold: float = Field(default=0.0, ge=0.0, le=1.0)

    @property
    def declared_order(self) -> int | None:
        return None if self.threshold else self.order + int(self.corrector)

    def intervals(self, nfe: int) -> int:
        if not (self.corrector and self.corrector_last):
            return nfe
        if nfe < 2:
            raise Unsupported("corrector_last needs one evaluation more than intervals, so at least 2")
        return nfe - 1

    def _predictor(self, tau: Sequence[float], h: float) -> list[float]:
        """Weights of m_0, m_1, ... at nodes ``tau``, relative to lambda_s."""
        if len(tau) != 2:
            return data_weights(tau, h)
        b = h if self.variant == "bh1" else -math.expm1(-h)  # -B(h)
        older = b / 2 * h / tau[1]
        return [-math.expm1(-h) - older, older]

    def _corrector(self, tau: Sequence[float], h: float) -> list[float]:
        """Weights of m_t, m_0, m_1, ..."""
        if len(tau) > 1:
            return data_weights([h, *tau], h)
        b = h if self.variant == "bh1" else -math.expm1(-h)
        return [b / 2, -math.expm1(-h) - b / 2]

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        nodes = grid.nodes
        last = len(nodes) - 1
        if self.corrector and self.corrector_last and nodes[-1] == 0:
            raise Unsupported("corrector_last needs a grid that ends above 0, such as karras[end=sigma_min]")
        history: list[Tensor] = []  # predictions, newest first
        tau: list[float] = []
        h, start = 0.0, x
        for i, sigma in enumerate(nodes):
            correct = self.corrector and i > 0
            if i == last and not (correct and self.corrector_last):
                break
            prediction = dynamic_threshold(denoise(x, sigma), self.threshold)
            if correct:
                x = combine(start, math.exp(-h), self._corrector(tau, h), [prediction, *history[: len(tau)]])
            if i == last:
                break
            history = [prediction, *history[: self.order - 1]]
            if nodes[i + 1] == 0:
                return prediction
            order = step_order(self.order, i, last, self.lower_final)
            tau = [-step_size(nodes[i - j], sigma) for j in range(order)]
            start, h = x, step_size(sigma, nodes[i + 1])
            x = combine(start, math.exp(-h), self._predictor(tau, h), history[:order])
        return x
