r"""Restart: an ODE solver that jumps back to a higher noise level with fresh noise and solves that stretch again.

The main solver walks a grid of N intervals. At its level ``sigma_r`` nearest to ``t_min`` it does K times, with z
standard normal::

    x <- x + sqrt(t_max^2 - sigma_r^2) s_noise z
    x <- ODE steps from t_max to sigma_r along n levels, evenly spaced in sigma^{1/7}

and goes on. A jump contracts the error made so far. A step is Heun's, Euler where it ends in 0, or Euler's throughout.

Xu, Deng, Cheng, Tian, Liu and Jaakkola 2023, "Restart Sampling for Improving Generative Processes", arXiv 2306.14878,
and ``restart_sampler`` of the authors' code. ``n:K:t_min:t_max`` is their notation; ``/`` separates several restarts.

How a budget is divided: the restarts take what they take, ``sum_j K_j (n_j - 1)`` steps of two evaluations (Heun) or
one (Euler); the main solver gets the rest. A budget that leaves it no level below ``t_max`` to restart from is refused:
that would be its main solver alone, ``heun`` or ``ddim``. The default is that of the authors' ``run_restart.sh``.

Departures:

* A level of 0 is never restarted from; the authors take it where it is the nearest.
* Of two restarts at one level the authors keep the last; here both run, in the order given.
* ``s_noise`` is 0 by default in their code, where a jump adds nothing, and 1.003 in their commands.
* Stochastic: no order is declared unless every K is 0. Jumps are exact in distribution for ``s_noise=1``, so on a
  Gaussian the variance converges with the main solver's order.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from pydantic import Field, field_validator
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver, Unsupported
from bench.grids import Levels, ends_in_zero, karras
from bench.rng import SampleNoise

INFO = Info(
    summary="Heun or Euler along a grid, with jumps back to a higher noise level that contract the error.",
    family="solvers",
    papers=(
        Paper(
            title="Restart Sampling for Improving Generative Processes",
            authors="Yilun Xu and Mingyang Deng and Xiang Cheng and Yonglong Tian and Ziming Liu and Tommi S. Jaakkola",
            year=2023,
            arxiv="2306.14878",
            code="Newbeeer/diffusion_restart_sampling",
        ),
    ),
)


class _Jump(NamedTuple):
    """One restart: ``points`` levels from ``t_max`` down to the level nearest to ``t_min``, ``repeats`` times."""

    points: int
    repeats: int
    t_min: float
    t_max: float


def _parse(text: str) -> list[_Jump]:
    """The restarts of ``n:K:t_min:t_max/...``."""
    try:
        parts = [part.split(":") for part in text.split("/")]
        found = [_Jump(int(n), int(k), float(low), float(high)) for n, k, low, high in parts]
    except ValueError as error:
        raise ValueError(f"a restart is n:K:t_min:t_max, such as 3:1:0.06:1; {text!r} is not") from error
    if any(n < 2 or k < 0 or not 0 < low < high < math.inf for n, k, low, high in found):
        raise ValueError(f"a restart has n >= 2, K >= 0 and 0 < t_min < t_max, unlike {text!r}")
    return found


class Restart(Solver):
    """The sampler.

    Attributes:
        base: the ODE solver, ``heun`` or ``euler``.
        restarts: ``n:K:t_min:t_max``, several separated by ``/``.
        s_noise: the standard deviation of a jump's noise, relative to what keeps the marginals.
    """

    base: Literal["heun", "euler"] = "heun"
    restarts: str = "3:1:0.06:1"
    s_noise: float = Field(default=1.003, ge=0)

    @field_validator("restarts")
    @classmethod
    def _readable(cls, text: str) -> str:
        _parse(text)
        return text

    @property
    def declared_order(self) -> int | None:
        if any(jump.repeats for jump in _parse(self.restarts)):
            return None
        return 2 if self.base == "heun" else 1

    def intervals(self, nfe: int) -> int:
        stages = 2 if self.base == "heun" else 1
        spent = stages * sum(jump.repeats * (jump.points - 1) for jump in _parse(self.restarts))
        zero = ends_in_zero(self.grid)
        saved = int(zero and stages == 2)
        least = 2 if zero and spent else 1  # intervals: a level above 0 to restart from
        count, odd = divmod(nfe - spent + saved, stages)
        if odd or count < least:
            near = sorted({spent + stages * max(n, least) - saved for n in (count, count + odd)})
            main = f"{'2N' if stages == 2 else 'N'}{' - 1' if saved else ''} with N >= {least}"
            raise Unsupported(
                f"restarts take {spent} evaluations, the rest {main}; use nfe {' or '.join(map(str, near))}"
            )
        return count

    def _step(self, denoise: Denoiser, x: Tensor, sigma_s: float, sigma_t: float) -> Tensor:
        x0_hat = denoise(x, sigma_s)
        euler = torch.lerp(x0_hat, x, sigma_t / sigma_s)
        if sigma_t == 0 or self.base == "euler":
            return euler
        half = (sigma_s - sigma_t) / 2
        ahead = euler - denoise(euler, sigma_t)
        return euler.add(x - x0_hat, alpha=half / sigma_s).sub_(ahead, alpha=half / sigma_t)

    def _schedule(self, nodes: list[float]) -> list[tuple[float, _Jump]]:
        """The level that each restart starts from, in the order given."""
        levels = [sigma for sigma in nodes[1:] if sigma > 0]
        found = []
        for jump in _parse(self.restarts):
            level = min(levels, key=lambda sigma: abs(sigma - jump.t_min), default=math.inf)
            if jump.repeats and not level < jump.t_max <= nodes[0]:
                raise Unsupported(
                    f"the grid of {len(nodes) - 1} steps from {nodes[0]:g} has no level to restart from below t_max = "
                    f"{jump.t_max:g}, nearest to {jump.t_min:g}; use a larger nfe or other restarts"
                )
            found.append((level, jump))
        return found

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        schedule = self._schedule(grid.nodes)
        for sigma_s, sigma_t in grid.steps():
            x = self._step(denoise, x, sigma_s, sigma_t)
            for level, jump in schedule:
                for _ in range(jump.repeats if level == sigma_t else 0):
                    x = x.add(noise.normal(), alpha=math.sqrt(jump.t_max**2 - level**2) * self.s_noise)
                    stretch = karras(Levels(jump.points, level, jump.t_max, grid.process))
                    stretch[0], stretch[-1] = jump.t_max, level
                    for high, low in Grid(stretch, grid.process).steps():
                        x = self._step(denoise, x, high, low)
        return x
