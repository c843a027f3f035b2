r"""SA-Solver: stochastic Adams predictor and corrector for the data prediction.

With ``h = lambda_t - lambda_s``, ``k = 1 + tau^2``, tau the strength of the noise, and L_j the Lagrange polynomials
through the last predictions D_j in lambda::

    x_t = (sigma_t/sigma_s)^k x_s + sum_j b_j D_j + sigma_t sqrt(1 - e^{-2 tau^2 h}) z
    b_j = k int_{lambda_s}^{lambda_t} e^{k (lambda - lambda_t)} L_j(lambda) dlambda

The predictor's nodes are the last ``predictor_order`` levels; the teacher is evaluated at its result; the corrector
repeats the step from x_s with the same z and ``corrector_order`` nodes, the new one among them. Evaluating before
correcting only (PEC) makes one evaluation a step, and the last step needs no corrector, so N intervals are N
evaluations; evaluating the corrected state again (PECE) makes 2N - 1.

Paper: Xue et al. 2023, arXiv 2309.05019; the weights are its Eqs. 15 and 18, ``rescaled`` its App. D, by the numbers
that the authors' code gives.

Departures and variants:

* The first steps use what there is; a step to ``sigma_t = 0`` is the last prediction and draws no noise. One z is drawn
  per step.
* tau is constant, within ``[tau_low, tau_high]`` in sigma; the codes have windows in time. ``lower_final`` is always on
  in them.
* ``rescaled``: two nodes have ``int = k^2 h^2 / 2`` for the linear term, as ``few_steps`` in the authors' code and
  diffusers; their ``more_steps`` has not.
* ``convention=authors``: tau is that of a step's end, and the last step to a level above 0 is deterministic.
  ``convention=diffusers``: tau is that of its beginning, the last step not excepted.
* With tau = 0 the order is ``min(corrector_order, predictor_order + 1)``. None is declared where both orders are the
  same and above 1: there the slope at 128 to 512 steps is still far from its limit (1.7 for 2, 2.7 for 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver, Unsupported
from bench.coefficients import LowerFinal, combine, data_weights, moment_weights, step_order, step_size
from bench.rng import SampleNoise

INFO = Info(
    summary="Stochastic Adams predictor-corrector for the data prediction with a chosen strength of the noise.",
    family="solvers",
    papers=(
        Paper(
            title="SA-Solver: Stochastic Adams Solver for Fast Sampling of Diffusion Models",
            authors="Shuchen Xue and Mingyang Yi and Weijian Luo and Shifeng Zhang and Jiacheng Sun and Zhenguo Li "
            "and Zhi-Ming Ma",
            year=2023,
            arxiv="2309.05019",
            code="scxue/SA-Solver",
        ),
    ),
)


class SASolver(Solver):
    """SA-Solver.

    Attributes:
        predictor_order: predictions that the predictor uses, 1 to 4.
        corrector_order: predictions that the corrector uses, the new one included, 1 to 4; 0 leaves it out.
        tau: strength of the noise; 1 is the reverse SDE, 0 the ODE.
        tau_low, tau_high: noise levels between which tau holds; it is 0 elsewhere. A ``tau_high`` of 0 is no bound.
        mode: evaluate once a step, or again after correcting.
        rescaled: the authors' change of two-node weights.
        lower_final: let orders fall to 1 towards the end of the grid.
        convention: whose tau, see the file.
    """

    predictor_order: int = Field(default=3, ge=1, le=4)
    corrector_order: int = Field(default=4, ge=0, le=4)
    tau: float = Field(default=1.0, ge=0.0, le=2.0)
    tau_low: float = Field(default=0.0, ge=0.0)
    tau_high: float = Field(default=0.0, ge=0.0)
    mode: Literal["PEC", "PECE"] = "PEC"
    rescaled: bool = False
    lower_final: bool = False
    convention: Literal["authors", "diffusers"] = "authors"

    @model_validator(mode="after")
    def _corrects(self) -> Self:
        if self.mode == "PECE" and self.corrector_order == 0:
            raise ValueError("mode=PECE evaluates the corrected state: it needs corrector_order > 0")
        return self

    @property
    def declared_order(self) -> int | None:
        if self.tau or self.predictor_order == self.corrector_order > 1:
            return None
        return min(self.corrector_order, self.predictor_order + 1) if self.corrector_order else self.predictor_order

    def intervals(self, nfe: int) -> int:
        if self.mode == "PEC":
            return nfe
        if nfe % 2 == 0:
            raise Unsupported(f"mode=PECE uses 2N - 1 evaluations for N steps, an odd number, not {nfe}")
        return (nfe + 1) // 2

    def _tau(self, sigma_s: float, sigma_t: float, last: bool) -> float:
        if self.convention == "authors" and last:
            return 0.0
        sigma = sigma_t if self.convention == "authors" else sigma_s
        return self.tau if self.tau_low <= sigma <= (self.tau_high or math.inf) else 0.0

    def _weights(self, sigma: Sequence[float], step: tuple[float, float], k: float) -> list[float]:
        """b_j for predictions at the levels ``sigma``."""
        nodes = [k * step_size(step[0], level) for level in sigma]
        span = k * step_size(*step)
        if self.rescaled and len(nodes) == 2:
            return moment_weights(nodes, [-math.expm1(-span), span**2 / 2])
        return data_weights(nodes, span)

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        sigma, n = grid.nodes, len(grid) - 1
        lower: LowerFinal = "always" if self.lower_final else 0
        values = [denoise(x, sigma[0])]  # newest first
        for i, step in enumerate(grid.steps()):
            if step[1] == 0:
                return values[0]
            tau, h = self._tau(*step, last=i == n - 1), step_size(*step)
            k = 1 + tau**2
            base = x * math.exp(-k * h)
            if self.tau:
                base.add_(noise.normal(), alpha=step[1] * math.sqrt(-math.expm1(-2 * tau**2 * h)))
            order = step_order(self.predictor_order, i, n, lower)
            x = combine(base, 1.0, self._weights(sigma[i::-1][:order], step, k), values[:order])
            if i == n - 1:
                return x
            values = [denoise(x, step[1]), *values[:3]]
            order = step_order(self.corrector_order, i + 1, n + 2, lower)
            if order:
                x = combine(base, 1.0, self._weights(sigma[i + 1 :: -1][:order], step, k), values[:order])
            if self.mode == "PECE":
                values[0] = denoise(x, step[1])
        return x
