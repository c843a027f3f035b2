r"""DPM-OT: noise is carried to noised data by an optimal transport map in one stroke, then denoised by a solver.

Between standard normal noise u and M stored targets ``y_i = x_0 + sigma_skip eps`` of mass 1/M each, the optimal map
is the gradient of a Brenier potential, the upper envelope of M planes:

    T(u) = y_i,  i = argmax_j <u, y_j> + h_j,      h = argmin E_u max_j (<u, y_j> + h_j) - mean(h)

whose gradient in ``h_i`` is the mass of cell i less 1/M, both estimated from random u; Adam finds h. The solver starts
from ``T(x_T / sigma_max)`` at ``sigma_skip``. Li et al. 2023, arXiv 2307.11308; semi-discrete optimal transport.

``blend`` mixes the target of the best cell with that of the second best, if the planes' normals ``(y_i, -1)`` and
``(y_j, -1)`` are no further apart than ``angle``: a larger angle marks a singularity of the map, where a mixture would
lie between modes.

Departures from the authors' code:

* theirs draws u uniformly from [0, 1]^d, in the fit and when sampling; here both are the Gaussian noise that every
  method starts from.
* Adam has torch's bias correction, a rate relative to the targets' spread, and a rate that falls to 0; theirs has a
  constant rate, enlarges the Monte Carlo sample when there is no progress and keeps the best h.
* their default is ``topk: 1``, the plain map, as here (``blend=0``). For more cells their code calls a function that
  it does not define; the one beside it keeps pairs by an angle scaled by the extremes of the batch, and takes one
  target of the pair. A fixed share and an angle in radians depend on nothing but the sample.
* they denoise by annealed Langevin dynamics; here by any solver. With one that draws no noise and ``blend=0`` there
  are at most M different samples per class.
* a target's class is not that of the sample, which a method does not see: for a conditional teacher ``sigma_skip`` must
  leave room to change it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from bench.api import FitTask, Info, Method, Paper, Problem, Unsupported

INFO = Info(
    summary="A semi-discrete optimal transport map from noise to noised data, then any solver.",
    family="calibrated",
    papers=(
        Paper(
            title="DPM-OT: A New Diffusion Probabilistic Model Based on Optimal Transport",
            authors="Zezeng Li and Shenghao Li and Zhanpeng Wang and Na Lei and Zhongxuan Luo and Xianfeng Gu",
            year=2023,
            arxiv="2307.11308",
            code="cognaclee/DPM-OT",
        ),
    ),
    requires=("artifact",),
)


def transport(u: Tensor, targets: Tensor, heights: Tensor, blend: float, angle: float) -> Tensor:
    """(B, d) float64: T(u), or its mixture with the second best cell's target.

    Args:
        u: (B, d) standard normal noise.
        targets: (M, d), M >= 2.
        heights: (M,) the planes' heights.
        blend: share of the second best cell.
        angle: in radians; planes further apart are not mixed.
    """
    targets = targets.to(u.device, torch.float64)
    planes = torch.addmm(heights.to(targets), u.double(), targets.T)
    first, second = targets[planes.topk(2, dim=1).indices].unbind(1)
    cosine = (1 + (first * second).sum(1)) / ((1 + first.square().sum(1)) * (1 + second.square().sum(1))).sqrt()
    close = cosine.clamp(-1, 1).acos() <= angle
    return first + blend * close[:, None] * (second - first)


class DPMOT(Method):
    """A transport map to ``sigma_skip``, a solver from there.

    Attributes:
        solver: spec of the solver; its grid runs from ``sigma_skip`` to the end.
        blend: share of the second best cell's target; 0 is the plain map.
        angle: largest angle, in radians, between the planes of two cells that are mixed.
        sigma_skip: the noise level of the targets.
        targets: M, how many there are.
        steps: of Adam.
        batch: noise vectors in each step.
        rate: of Adam, in units of the targets' standard deviation; it falls to 0 quadratically.
    """

    sampling_only: ClassVar[frozenset[str]] = frozenset({"solver", "blend", "angle"})

    solver: str = "dpm_solver_pp"
    blend: float = Field(default=0.0, ge=0, le=0.5)
    angle: float = Field(default=0.7, ge=0, le=math.pi)
    sigma_skip: float = Field(default=4.0, gt=0)
    targets: int = Field(default=1000, ge=2, le=50000)
    steps: int = Field(default=800, ge=0)
    batch: int = Field(default=1024, ge=1)
    rate: float = Field(default=0.2, gt=0)

    def artifact_name(self, nfe: int) -> str:
        return "map"

    def potential(self, targets: Tensor, task: FitTask) -> Tensor:
        """(M,) float32: the heights, of mean 0, for targets (M, d) float32."""
        count, d = targets.shape
        heights = torch.zeros(count)
        adam = torch.optim.Adam([heights])
        spread = float(targets.std(0).mean())
        for step in range(self.steps):
            adam.param_groups[0]["lr"] = self.rate * spread * (1 - step / self.steps) ** 2
            u = torch.randn(self.batch, d, generator=task.generator)
            cell = torch.addmm(heights, u, targets.T).argmax(1)
            heights.grad = torch.bincount(cell, minlength=count) / self.batch - 1 / count
            adam.step()
            heights -= heights.mean()
            task.progress(step + 1, self.steps, "heights")
        return heights

    @torch.no_grad()
    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        x0 = task.data(self.targets).x.flatten(1)
        noised = x0 + self.sigma_skip * torch.randn(x0.shape, generator=task.generator)
        targets = noised.half()  # the heights are for the targets as they are stored
        return {"targets": targets, "heights": self.potential(targets.float(), task)}

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if not problem.artifact:
            raise Unsupported("no transport map has been fitted for these parameters; bench fit makes one")
        if self.sigma_skip >= problem.sigma_max:
            raise Unsupported(f"sigma_skip={self.sigma_skip:g} is not below this suite's {problem.sigma_max:g}")
        solver = problem.solver(self.solver)
        below = dataclasses.replace(problem, sigma_max=self.sigma_skip)
        grid = below.grid(solver.grid, solver.intervals(nfe))
        if grid.nodes[0] != self.sigma_skip:
            raise Unsupported(f"the grid of {self.solver} starts at {grid.nodes[0]:g}, not at sigma_skip")
        u = problem.x.flatten(1).double() / problem.sigma_max
        x = transport(u, problem.artifact["targets"], problem.artifact["heights"], self.blend, self.angle)
        return solver.integrate(problem.denoise, x.view(problem.x.shape).to(problem.x.dtype), grid, problem.noise)
