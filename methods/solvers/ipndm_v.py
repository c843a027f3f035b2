r"""iPNDM_v as published: diff-sampler's variable-step Adams-Bashforth, its wrong weights included.

Update from ``sigma_s`` to ``sigma_t``, with ``eps_j = (x_j - D(x_j, sigma_j)) / sigma_j``, newest first, and the step
lengths ``h`` (this one), ``h_1, h_2, h_3`` (older ones)::

    x_t = x + h sum_j c_j eps_j

    a = h / 3(h + h_1)            p = h (h + h_1) / (h_1 (h_1 + h_2))        b = h_1 / h_2
    q = (h + h_1 + h_2) / (h_1 + h_2 + h_3) p                                g = h_1 (h_1 + h_2) / (h_2 (h_2 + h_3))

    T_1 = (1 - a p) / 2
    T_2 = ((1 - a) / 2 + (1 - 3 a / 2) h / 6(h + h_1 + h_2)) q

    c_0 = 1 + h / 2 h_1 + T_1 + T_2
    c_1 = -h / 2 h_1 - (1 + b) T_1 - (1 + b + g) T_2
    c_2 = b T_1 + (b + g (1 + h_2 / h_3)) T_2
    c_3 = -g b T_2

Order 3 has no T_2, orders 1 and 2 neither of them. Source: ``ipndm_v_sampler`` in the code of Zhou et al. 2023, "Fast
ODE-based Sampling for Diffusion Models in Around 5 Steps", arXiv 2312.00094.

Three things are wrong. A parenthesis is misplaced in T_1, which is ``(1 - a) p / 2`` if exact (orders 3 and 4); the
sign of the second term of T_2 is + for -, and c_3 has b for ``h_2 / h_3`` (order 4). With these mended the weights are
those of ``ab``. Equal steps show the sign alone: T_1 is 5/12 both ways, T_2 11/24 and not 3/8. T_1 multiplies a second
difference, so order 3 keeps its order where neighbouring steps differ by little, and falls to 2 where they do not. The
slip in c_3 makes the sum of the weights differ from 1: order 4 converges at slope 1, and declares nothing.

``afs`` (analytical first step, Dockhorn et al. 2022, arXiv 2210.05475, as in diff-sampler) takes the first noise
prediction to be ``x / sqrt(1 + sigma^2)``: n evaluations make n + 1 steps. ``max_order=1`` raises an IndexError there;
here order 1 is Euler's method.
"""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver
from bench.coefficients import combine
from bench.rng import SampleNoise

INFO = Info(
    summary="diff-sampler's variable-step Adams-Bashforth of order 1 to 4, with the weights as published.",
    family="solvers",
    papers=(
        Paper(
            title="Fast ODE-based Sampling for Diffusion Models in Around 5 Steps",
            authors="Zhenyu Zhou and Defang Chen and Can Wang and Chun Chen",
            year=2023,
            arxiv="2312.00094",
            equation="ipndm_v_sampler in the code",
            code="zju-pi/diff-sampler",
        ),
    ),
)


class IPNDMV(Solver):
    """The solver.

    Attributes:
        order: how many noise predictions are combined, 1 to 4; not the order of convergence, see above.
        afs: whether the first noise prediction is the closed form for data of unit variance.
    """

    order: int = Field(default=4, ge=1, le=4)
    afs: bool = False

    @property
    def declared_order(self) -> int | None:
        return None if self.afs or self.order == 4 else self.order

    def intervals(self, nfe: int) -> int:
        return nfe + 1 if self.afs else nfe

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        history: list[Tensor] = []  # noise predictions, newest first
        lengths: list[float] = []  # of the steps, newest first
        for i, (sigma_s, sigma_t) in enumerate(grid.steps()):
            eps = x / math.hypot(1, sigma_s) if self.afs and i == 0 else (x - denoise(x, sigma_s)) / sigma_s
            history = [eps, *history[: self.order - 1]]
            lengths = [sigma_t - sigma_s, *lengths[: self.order - 1]]
            x = combine(x, 1.0, [lengths[0] * c for c in _coefficients(*lengths)], history)
        return x


def _coefficients(h: float, h_1: float = 0.0, h_2: float = 0.0, h_3: float = 0.0) -> list[float]:
    """``c_0, c_1, ...``, as many as there are step lengths."""
    if not h_1:
        return [1.0]
    c = [1 + h / (2 * h_1), -h / (2 * h_1)]
    if not h_2:
        return c
    a, b = h / (3 * (h + h_1)), h_1 / h_2
    p = h * (h + h_1) / (h_1 * (h_1 + h_2))
    t_1 = (1 - a * p) / 2
    c = [c[0] + t_1, c[1] - (1 + b) * t_1, b * t_1]
    if not h_3:
        return c
    g = h_1 * (h_1 + h_2) / (h_2 * (h_2 + h_3))
    q = (h + h_1 + h_2) / (h_1 + h_2 + h_3) * p
    t_2 = ((1 - a) / 2 + (1 - 1.5 * a) * h / (6 * (h + h_1 + h_2))) * q
    return [c[0] + t_2, c[1] - (1 + b + g) * t_2, c[2] + (b + g * (1 + h_2 / h_3)) * t_2, -g * b * t_2]
