r"""Faster Diffusion: the encoder of the U-Net runs at key steps only; the decoder runs at every step, on its features.

The encoder's features change little between steps, the decoder's much (Sec. 3.1). With E, D the two halves::

    key step t       D(E(x_t, t), t)
    other step s     D(E(x_t, t), s),   t the last key step: the state at s enters through the solver alone

Prior noise injection restores texture: before every step with VP time t < ``until`` the state becomes ``z_t +
injection z_T`` (Sec. 3.3), z_T the initial noise.

Li, Hu, Khan, Li, Yang, Wang, Cheng and Yang 2023, "Faster Diffusion: Rethinking the Role of the Encoder for Diffusion
Model Inference", arXiv 2312.09608.

The authors' key steps are 0, 1, 2, 3, 5, 10, 15, 25, 35 of 50; here they are scaled to the budget and rounded down. In
``x = z / alpha`` one step of a solver is ``x_t = (sigma_t/sigma_s) x_s + ...``, so injected noise travels on as

    B_t = (sigma_t / sigma_s) (B_s + b_s),   b_s = injection / alpha_s = injection sqrt(1 + sigma_s^2)

and is added to what the denoiser sees: any solver with one evaluation per step takes part. The decoders of a stretch
share their input, so the authors run them in one batch; here they run one after the other: the same numbers and FLOPs,
not the same latency.
"""

from __future__ import annotations

import math
from dataclasses import replace

from pydantic import Field
from torch import Tensor

from bench.api import Info, Paper, Problem, Unsupported
from bench.caching import Caching
from bench.grids import Grid
from bench.probe import evaluations
from bench.process import VPLinear
from bench.reuse import Part

INFO = Info(
    summary="The encoder of the U-Net runs at key steps only, its features serve the steps between.",
    family="caching",
    papers=(
        Paper(
            title="Faster Diffusion: Rethinking the Role of the Encoder for Diffusion Model Inference",
            authors="Senmao Li and Taihang Hu and Fahad Shahbaz Khan and Linxuan Li and Shiqi Yang and Yaxing Wang "
            "and Ming-Ming Cheng and Jian Yang",
            year=2023,
            arxiv="2312.09608",
            code="hutaiHang/Faster-Diffusion",
        ),
    ),
    requires=("network",),
)

KEY_STEPS = (0, 1, 2, 3, 5, 10, 15, 25, 35)
OF_STEPS = 50


class FasterDiffusion(Caching):
    """Encoder propagation around any solver.

    Attributes:
        solver: spec of the solver.
        injection: weight of the initial noise; 0 is none, 0.003 the authors'.
        until: VP time in [0, 1] below which it is injected.
    """

    injection: float = Field(default=0.003, ge=0.0)
    until: float = Field(default=0.5, ge=0.0, le=1.0)

    def parts(self, nfe: int) -> list[Part]:
        key = {step * nfe // OF_STEPS for step in KEY_STEPS}
        return ["full" if step in key else "encoder" for step in range(nfe)]

    def injected(self, grid: Grid) -> list[float]:
        """B at each node, as a multiple of the initial noise, in coordinates ``z / alpha``."""
        late = (VPLinear().time(grid.sigma) < self.until).tolist()
        found, carried, before = [], 0.0, math.inf
        for sigma, inject in zip(grid.nodes, late, strict=True):
            carried *= sigma / before
            if inject and sigma != grid.nodes[-1]:  # before a step; there is none from the last node
                carried += self.injection * math.hypot(1, sigma)
            found.append(carried)
            before = sigma
        return found

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        solver = problem.solver(self.solver)
        if not self.injection:
            return super().sample(problem, nfe)
        grid = problem.grid(solver.grid, solver.intervals(nfe))
        if evaluations(solver, grid) != len(grid) - 1:
            raise Unsupported(
                f"injection needs one evaluation per step, which {self.solver} does not make; set it to 0"
            )
        cached, noise = self.denoiser(problem, nfe), problem.x / problem.sigma_max
        shifts = self.injected(grid)
        shift = iter(shifts)

        def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
            return cached(x.add(noise, alpha=next(shift)), sigma)

        x = solver.integrate(denoise, problem.x, replace(grid), problem.noise)
        return x.add(noise, alpha=shifts[-1])
