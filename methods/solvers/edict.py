r"""EDICT: two coupled DDIM states, each stepped with the noise predicted at the other, exactly invertible.

Both states begin at the noise. In a step from ``sigma_s`` to ``sigma_t``, in the state z of the process, with e(z) the
noise predicted at level ``sigma_s`` and F(z, e) the DDIM step, which is affine in z, and ``0 < p <= 1``::

    z <- F(z, e(y)),   y <- F(y, e(z)),   z <- p z + (1 - p) y,   y <- p y + (1 - p) z

each line with what the one before has made; z and y change roles in the first two at every other step. Every line is
undone by solving it for what it changed, in reverse order. The sample is z.

Wallace, Gokul and Naik 2022, "EDICT: Exact Diffusion Inversion via Coupled Transformations", arXiv 2211.12446, the
section on the method; roles, order and the default of p are those of the authors' code. The second prediction is made
at a state that has already been stepped, but told ``sigma_s``: ``coordinates`` says in which state it has been left as
it is, ``vp`` (the authors') for ``z = x / sqrt(1 + sigma^2)`` or ``ve`` for x itself. A step costs two evaluations, so
odd budgets are refused. The order is 1; none is declared for ``ve``, where slopes from 1 to 2.3 were measured as p goes
to 1. With few steps from sigma = 80 the two states drift apart: on both test
mixtures the error is larger than DDIM's up to 40 evaluations. The authors take 50 steps. Inversion divides by p twice
in every step: where p < 1, round-off grows.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver, Unsupported
from bench.rng import SampleNoise

INFO = Info(
    summary="Two coupled DDIM states that make every step exactly invertible; two evaluations per step.",
    family="solvers",
    papers=(
        Paper(
            title="EDICT: Exact Diffusion Inversion via Coupled Transformations",
            authors="Bram Wallace and Akash Gokul and Nikhil Naik",
            year=2022,
            arxiv="2211.12446",
            code="salesforce/EDICT",
        ),
    ),
)

Pair = tuple[Tensor, Tensor]


class EDICT(Solver):
    """EDICT's steps and their exact inverses.

    Attributes:
        p: share of itself that a state keeps when the two are mixed; 1 does not mix.
        coordinates: the state in which a prediction is made before its time.
    """

    p: float = Field(default=0.93, gt=0.0, le=1.0)
    coordinates: Literal["vp", "ve"] = "vp"

    @property
    def declared_order(self) -> int | None:
        return 1 if self.coordinates == "vp" else None

    def intervals(self, nfe: int) -> int:
        if nfe % 2:
            near = f"{nfe - 1} or {nfe + 1}" if nfe > 1 else "2"
            raise Unsupported(f"a step of EDICT takes two evaluations; use nfe {near}")
        return nfe // 2

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        return self.decode(denoise, (x, x), grid)[0]

    def _noise(self, denoise: Denoiser, x: Tensor, sigma: float, at: float) -> Tensor:
        """The noise predicted at level ``sigma`` for a state x (B, ...) that is at level ``at``."""
        stretch = 1.0 if self.coordinates == "ve" else math.sqrt((1 + sigma**2) / (1 + at**2))
        seen = x * stretch
        return (seen - denoise(seen, sigma)).div_(sigma)

    def decode(self, denoise: Denoiser, pair: Pair, grid: Grid) -> Pair:
        """Both states (B, ...) at the last node, from those at the first; two evaluations per interval."""
        states = list(pair)
        for i, (sigma_s, sigma_t) in enumerate(grid.steps()):
            first, second = i % 2, (i + 1) % 2
            eps = self._noise(denoise, states[second], sigma_s, sigma_s)
            states[first] = states[first].add(eps, alpha=sigma_t - sigma_s)
            eps = self._noise(denoise, states[first], sigma_s, sigma_t)
            states[second] = states[second].add(eps, alpha=sigma_t - sigma_s)
            states[0] = states[1].lerp(states[0], self.p)
            states[1] = states[0].lerp(states[1], self.p)
        return states[0], states[1]

    def invert(self, denoise: Denoiser, pair: Pair, grid: Grid) -> Pair:
        """Both states at the first node that ``decode`` carries to the given ones; two evaluations per interval.

        A lone image is a pair of copies, as in the authors' code.
        """
        states = list(pair)
        steps = list(grid.steps())
        for i in range(len(steps) - 1, -1, -1):
            sigma_s, sigma_t = steps[i]
            first, second = i % 2, (i + 1) % 2
            states[1] = states[0].lerp(states[1], 1 / self.p)
            states[0] = states[1].lerp(states[0], 1 / self.p)
            eps = self._noise(denoise, states[first], sigma_s, sigma_t)
            states[second] = states[second].add(eps, alpha=sigma_s - sigma_t)
            eps = self._noise(denoise, states[second], sigma_s, sigma_s)
            states[first] = states[first].add(eps, alpha=sigma_s - sigma_t)
        return states[0], states[1]
