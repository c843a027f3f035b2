r"""PNDM: Adams-Bashforth of order 4 with a pseudo Runge-Kutta start, on DDIM's transfer.

With the transfer ``phi(x, e; s, t) = x + (sigma_t - sigma_s) e`` (DDIM's step with e for the noise; the paper's in
these coordinates) and ``e(x, sigma) = (x - D(x, sigma)) / sigma``::

    Runge-Kutta     e_1 = e(x, sigma_s)                       e_2 = e(phi(x, e_1; s, m), sigma_m)
                    e_3 = e(phi(x, e_2; s, m), sigma_m)       e_4 = e(phi(x, e_3; s, t), sigma_t)
                    e' = (e_1 + 2 e_2 + 2 e_3 + e_4) / 6
    improved Euler  e_1 as above,  e_2 = e(phi(x, e_1; s, t), sigma_t),  e' = (e_1 + e_2) / 2
    multistep       e' = 3/2 e_0 - 1/2 e_{-1},   (23 e_0 - 16 e_{-1} + 5 e_{-2}) / 12,
                    (55 e_0 - 59 e_{-1} + 37 e_{-2} - 9 e_{-3}) / 24
    x_t = phi(x, e'; s, t)

where m is halfway between s and t in the teacher's own time, and the history e_0, e_{-1}, ... keeps e_1 of a step of
the start, not its e'.

=======  ==================================  ==================  ============================
variant  start                               then combines       evaluations of N steps
=======  ==================================  ==================  ============================
fpndm    Runge-Kutta for 3 steps             4 values            N + 9 if N >= 3, else 4 N
spndm    improved Euler for 1 step           2 values            N + 1
plms     improved Euler for 1 step if N > 1  2, 3, then 4        N + 1 if N > 1, else 1
=======  ==================================  ==================  ============================

Liu, Ren, Lin and Zhao 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds", arXiv 2202.09778: F-PNDM and
S-PNDM. plms is diffusers' ``skip_prk_steps=True``, the form that Stable Diffusion uses.

* The authors' code asks for a noise prediction at the clean end if the start reaches it. Here the step to sigma = 0 is
  always a multistep one, of the order that the history allows: on a grid that ends in 0, fpndm takes 1, 5, 9, 13, 14,
  ... evaluations and spndm 1, 3, 4, ... Other budgets are refused.
* The weights are those of equal steps. Steps that change smoothly make the order 2, whatever the variant.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver, Unsupported
from bench.coefficients import combine, polynomial_weights
from bench.grids import ends_in_zero
from bench.rng import SampleNoise

INFO = Info(
    summary="Adams-Bashforth with the weights of equal steps and a pseudo Runge-Kutta start.",
    family="solvers",
    papers=(
        Paper(
            title="Pseudo Numerical Methods for Diffusion Models on Manifolds",
            authors="Luping Liu and Yi Ren and Zhijie Lin and Zhou Zhao",
            year=2022,
            arxiv="2202.09778",
            equation="F-PNDM and S-PNDM",
            code="luping-liu/PNDM",
        ),
    ),
)

RK4 = (1 / 6, 1 / 3, 1 / 3, 1 / 6)
Predict = Callable[[Tensor, float], Tensor]


class PNDM(Solver):
    """The solver.

    Attributes:
        variant: the start, and how many noise predictions a later step combines.
    """

    grid: str = "vp_uniform"
    variant: Literal["fpndm", "spndm", "plms"] = "plms"

    @property
    def declared_order(self) -> int | None:
        return 2

    def _start(self, steps: int, to_zero: bool) -> int:
        """How many steps the start has on a grid of this many steps."""
        if self.variant == "plms":
            return min(1, steps - 1)
        return min(3 if self.variant == "fpndm" else 1, steps - to_zero)

    def _cost(self, steps: int) -> int:
        extra = 3 if self.variant == "fpndm" else 1
        return steps + extra * self._start(steps, ends_in_zero(self.grid))

    def intervals(self, nfe: int) -> int:
        steps = 1
        while self._cost(steps) < nfe:
            steps += 1
        if self._cost(steps) > nfe:
            below = f"{self._cost(steps - 1)} or " if steps > 1 else ""
            raise Unsupported(f"{self.variant} on this grid has no plan for {nfe}; use nfe {below}{self._cost(steps)}")
        return steps

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        def predict(x: Tensor, sigma: float) -> Tensor:
            return torch.sub(x, denoise(x, sigma)).div_(sigma)

        start = self._start(len(grid) - 1, grid.nodes[-1] == 0)
        values = 2 if self.variant == "spndm" else 4
        history: list[Tensor] = []  # noise predictions, newest first
        for i, (sigma_s, sigma_t) in enumerate(grid.steps()):
            history = [predict(x, sigma_s), *history[: values - 1]]
            if i >= start:
                weights, terms = _equal_steps(len(history)), history
            elif self.variant == "fpndm":
                middle = float(grid.process.sigma((grid.t[i] + grid.t[i + 1]) / 2))
                weights, terms = RK4, _runge_kutta(predict, x, history[0], (sigma_s, middle, sigma_t))
            else:
                ahead = x.add(history[0], alpha=sigma_t - sigma_s)
                weights, terms = (1 / 2, 1 / 2), [history[0], predict(ahead, sigma_t)]
            x = combine(x, 1.0, [(sigma_t - sigma_s) * w for w in weights], terms)
        return x


@cache
def _equal_steps(count: int) -> tuple[float, ...]:
    """Adams-Bashforth weights of equal steps, newest first."""
    return tuple(polynomial_weights([-float(j) for j in range(count)], 1.0))


def _runge_kutta(predict: Predict, x: Tensor, e_1: Tensor, nodes: tuple[float, float, float]) -> list[Tensor]:
    """``e_1, ..., e_4`` of a step from ``nodes[0]`` over ``nodes[1]`` to ``nodes[2]``."""
    sigma_s, middle, sigma_t = nodes
    e_2 = predict(x.add(e_1, alpha=middle - sigma_s), middle)
    e_3 = predict(x.add(e_2, alpha=middle - sigma_s), middle)
    e_4 = predict(x.add(e_3, alpha=sigma_t - sigma_s), sigma_t)
    return [e_1, e_2, e_3, e_4]
