r"""rhoRK: explicit Runge-Kutta methods in rho = sigma, on the noise prediction.

With ``eps(x, sigma) = (x - D(x, sigma)) / sigma`` and the step ``h = sigma_t - sigma_s``::

    k_i = eps(x + h sum_{j<i} a_ij k_j, sigma_s + c_i h)          x_t = x + h sum_i b_i k_i

In rho the linear part of the probability-flow ODE is gone, so that any explicit method is an exponential integrator:
Zhang and Chen 2022, "Fast Sampling of Diffusion Models with Exponential Integrator", arXiv 2204.13902, rhoRK-DEIS.
The tableaus are those of the authors' code and its default, kutta3, and the midpoint rule:

=========  ======  =======================================================================================
tableau    stages  method
=========  ======  =======================================================================================
midpoint   2       the midpoint rule (not in the authors' code)
heun2      2       the trapezoidal rule (``2heun``); with the step to 0 below it is EDM's, the method ``heun``
kutta3     3       Kutta 1901 (``3kutta``)
heun3      3       Heun 1900 (``3heun``)
ralston3   3       Ralston 1962 (``3ral``)
houwen3    3       van der Houwen 1972 (``3vdh``)
ssp3       3       Shu and Osher 1988, strong stability preserving (``3ssprk``)
rk4        4       the classical method of order 4 (``4rk``)
=========  ======  =======================================================================================

The authors stop at a small sigma. A step to 0 is Euler's here, whatever the tableau, since four of them would ask for
a noise prediction at sigma = 0: it gives D, for one evaluation. With s stages N steps therefore cost s (N - 1) + 1
evaluations on a grid that ends in 0 and s N on one that ends above. Other budgets are refused, or, with ``fill``,
spent: the evaluations that are left make one more step before the last, of Euler's method, the midpoint rule or
kutta3. The last step of a grid that ends above 0 is that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Problem, Solver, Unsupported
from bench.coefficients import combine
from bench.grids import ends_in_zero
from bench.rng import SampleNoise

INFO = Info(
    summary="Explicit Runge-Kutta methods of order 2 to 4 in sigma, on the noise prediction.",
    family="solvers",
    papers=(
        Paper(
            title="Fast Sampling of Diffusion Models with Exponential Integrator",
            authors="Qinsheng Zhang and Yongxin Chen",
            year=2022,
            arxiv="2204.13902",
            equation="rhoRK-DEIS",
            code="qsh-zh/deis",
        ),
    ),
)

Tableau = tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]
"""The rows of a, from that of the second stage, and b; c is the sum of each row."""

EULER: Tableau = ((), (1.0,))
MIDPOINT: Tableau = (((1 / 2,),), (0.0, 1.0))
KUTTA3: Tableau = (((1 / 2,), (-1.0, 2.0)), (1 / 6, 2 / 3, 1 / 6))
TABLEAUS: dict[str, Tableau] = {
    "midpoint": MIDPOINT,
    "heun2": (((1.0,),), (1 / 2, 1 / 2)),
    "kutta3": KUTTA3,
    "heun3": (((1 / 3,), (0.0, 2 / 3)), (1 / 4, 0.0, 3 / 4)),
    "ralston3": (((1 / 2,), (0.0, 3 / 4)), (2 / 9, 1 / 3, 4 / 9)),
    "houwen3": (((8 / 15,), (1 / 4, 5 / 12)), (1 / 4, 0.0, 3 / 4)),
    "ssp3": (((1.0,), (1 / 4, 1 / 4)), (1 / 6, 1 / 6, 2 / 3)),
    "rk4": (((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}
SHORTER = (EULER, MIDPOINT, KUTTA3)
"""By the number of their stages, for what is left of a budget."""


class RhoRK(Solver):
    """The solver.

    Attributes:
        tableau: the Runge-Kutta method.
        fill: whether a budget that full steps do not use up gets one shorter step, or is refused.
    """

    tableau: Literal["midpoint", "heun2", "kutta3", "heun3", "ralston3", "houwen3", "ssp3", "rk4"] = "kutta3"
    fill: bool = False

    @property
    def stages(self) -> int:
        """How many evaluations a full step costs."""
        return len(TABLEAUS[self.tableau][1])

    @property
    def declared_order(self) -> int | None:
        return self.stages

    def _plan(self, nfe: int) -> list[Tableau]:
        """The method of each step; their stages add up to ``nfe``."""
        zero = int(ends_in_zero(self.grid))
        full, rest = divmod(nfe - zero, self.stages)
        if rest and not self.fill:
            low, high = nfe - rest, nfe - rest + self.stages
            near = f"{low} or {high}" if low else f"{high}"
            cost = f"{self.stages} (N - 1) + 1" if zero else f"{self.stages} N"
            raise Unsupported(f"N steps on this grid take {cost} evaluations; use nfe {near}, or fill=true")
        return [TABLEAUS[self.tableau]] * full + [SHORTER[rest - 1]] * (rest > 0) + [EULER] * zero

    def intervals(self, nfe: int) -> int:
        return len(self._plan(nfe))

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        plan = self._plan(nfe)
        return _run(problem.denoise, problem.x, problem.grid(self.grid, len(plan)), plan)

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        full = TABLEAUS[self.tableau]
        return _run(denoise, x, grid, [full if sigma > 0 else EULER for sigma in grid.nodes[1:]])


def _run(denoise: Denoiser, x: Tensor, grid: Grid, plan: Sequence[Tableau]) -> Tensor:
    """One step of each method of the plan."""
    for (sigma_s, sigma_t), (rows, weights) in zip(grid.steps(), plan, strict=True):
        h = sigma_t - sigma_s
        slopes = [(x - denoise(x, sigma_s)) / sigma_s]
        for row in rows:
            c = sum(row)
            sigma = (1 - c) * sigma_s + c * sigma_t  # exact where c is 1
            state = combine(x, 1.0, [h * a for a in row], slopes)
            slopes.append((state - denoise(state, sigma)) / sigma)
        x = combine(x, 1.0, [h * b for b in weights], slopes)
    return x
