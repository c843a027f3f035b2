r"""Adams-Bashforth with exact weights for any steps, in sigma or in the time of a flow; an Adams-Moulton corrector.

With y a rescaled state, u a variable of integration and f the slope ``dy/du`` at the last nodes::

    predictor   y_{i+1} = y_i + sum_{j<k} f_{i-j} int_{u_i}^{u_{i+1}} L_j(u) du
    corrector   y_i     = y_{i-1} + sum_{j<=k} f_{i-j} int_{u_{i-1}}^{u_i} L_j(u) du

where L_j are the Lagrange polynomials of the nodes that the sum runs over:

==========  =====================  ===============  ========================================================
coordinate  u                      y                f
==========  =====================  ===============  ========================================================
sigma       sigma                  x                eps = (x - D) / sigma
flow        sigma / (1 + sigma)    x / (1 + sigma)  the velocity eps - D = (x - (1 + sigma) D) / sigma
==========  =====================  ===============  ========================================================

In sigma it is rhoAB of Zhang and Chen 2022, arXiv 2204.13902, ``sample_lms`` of k-diffusion and ``zABSampler`` of
azula; in the time of a flow azula's ``vABSampler``. With equal steps these are iPNDM's weights; ``ipndm_v`` aims at
them. ``deis[variant=rhoab]`` takes a long step to 0 at order 1; here it is like any other.

* The first steps have orders 1, 2, ... From sigma = 80 the first step has little to do and does not limit the order;
  from sigma = 2 it limits it to 2. Order 4 declares nothing: at 128 to 512 steps its slope was 3.80 to 3.93, and 4.83
  to 5.04 with the corrector.
* ``corrector`` (Adams-Moulton, PEC form) costs no evaluation: the slope at the predicted state, which the next step
  needs anyway, corrects that state first. It raises the order by one. The last state is not corrected.
* ``afs`` (analytical first step, Dockhorn et al. 2022, arXiv 2210.05475, as in diff-sampler) takes the first noise
  prediction to be ``x / sqrt(1 + sigma^2)``: n evaluations make n + 1 steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver
from bench.coefficients import combine, polynomial_weights
from bench.rng import SampleNoise

INFO = Info(
    summary="Adams-Bashforth of order 1 to 4 with exact weights for any steps; an Adams-Moulton corrector.",
    family="solvers",
    papers=(
        Paper(
            title="Fast Sampling of Diffusion Models with Exponential Integrator",
            authors="Qinsheng Zhang and Yongxin Chen",
            year=2022,
            arxiv="2204.13902",
            equation="rhoAB-DEIS",
            code="qsh-zh/deis",
        ),
    ),
)


class AB(Solver):
    """The solver.

    Attributes:
        order: how many slopes the predictor combines, 1 to 4.
        coordinate: the variable of integration.
        corrector: whether each state but the last is corrected with the slope found at it.
        afs: whether the first noise prediction is the closed form for data of unit variance.
    """

    order: int = Field(default=4, ge=1, le=4)
    coordinate: Literal["sigma", "flow"] = "sigma"
    corrector: bool = False
    afs: bool = False

    @property
    def declared_order(self) -> int | None:
        return None if self.afs or self.order == 4 else self.order + self.corrector

    def intervals(self, nfe: int) -> int:
        return nfe + 1 if self.afs else nfe

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        flow = self.coordinate == "flow"
        scale = [1 + sigma if flow else 1.0 for sigma in grid.nodes]
        u = [sigma / s for sigma, s in zip(grid.nodes, scale, strict=True)]
        slopes: list[Tensor] = []  # newest first
        y = before = x / scale[0]
        for i, sigma in enumerate(grid.nodes[:-1]):
            x = y * scale[i]
            if self.afs and i == 0:
                eps = x / math.hypot(1, sigma)
                slope = scale[0] * eps - x if flow else eps
            else:
                slope = (x - scale[i] * denoise(x, sigma)) / sigma
            slopes = [slope, *slopes[: self.order]]
            if self.corrector and i > 0:
                y = combine(before, 1.0, _weights(u, i, len(slopes), i - 1), slopes)
            used = slopes[: self.order]
            before, y = y, combine(y, 1.0, _weights(u, i, len(used), i), used)
        return y * scale[-1]


def _weights(u: Sequence[float], newest: int, count: int, start: int) -> list[float]:
    """``int L_j du`` over the step from node ``start`` for ``count`` nodes that end with ``newest``, newest first."""
    nodes = [u[newest - j] - u[start] for j in range(count)]
    return polynomial_weights(nodes, u[start + 1] - u[start])
