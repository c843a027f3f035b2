r"""Reflow: a 2-rectified flow learns the straight lines between noise and what the teacher's ODE makes of it.

In flow coordinates ``x_t = (1 - t) x0 + t eps`` a velocity v and a denoiser D are one thing::

    sigma = t / (1 - t),   x_t = x / (1 + sigma),   v(x_t, t) = (x_t - D(x, sigma)) / t

Pairs: ``X = sigma_max z``; x0 is the teacher's ODE solution from X; ``eps = (X - x0) / sigma_max`` is the noise whose
straight line through x0 starts exactly at X. Loss, for t up to ``t_max = sigma_max / (1 + sigma_max)``::

    |v(x_t, t) - (eps - x0)|^2 = |D(x0 + sigma eps, sigma) - x0|^2 / t^2

Sampling is Euler in t, which in (x, sigma) is DDIM on the nodes ``sigma = t / (1 - t)``. For one evaluation the flow is
distilled once more: ``D(X, sigma_max)`` is regressed on the endpoint of the flow from X.

Liu, Gong and Liu 2022, arXiv 2209.03003: Eq. 1, Algorithm 1; Liu et al. 2023 (InstaFlow), arXiv 2309.06380, Sec. 3. The
conversion and the U-shaped density ``p(t) ~ exp(4t) + exp(4(1 - t))``: Lee, Lin and Fanti 2024, arXiv 2405.20320.
Departures from the authors' code (gnobitab/RectifiedFlow, gnobitab/InstaFlow): the student is the teacher's network
seen through the conversion, not a flow trained anew; t stops at t_max, where sigma is finite; eps is not z, so that the
start is exact; the distance is L2, since LPIPS needs a network of natural images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.api import FitBatch, FitTask, Info, Paper, Problem, Unsupported
from bench.denoiser import align
from bench.distill import Distilled, ddim, restored, student
from bench.rng import SampleNoise

INFO = Info(
    summary="A 2-rectified flow on pairs of the teacher's ODE, and its one-step student.",
    family="distilled",
    papers=(
        Paper(
            title="Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow",
            authors="Xingchao Liu and Chengyue Gong and Qiang Liu",
            year=2022,
            arxiv="2209.03003",
            equation="Algorithm 1",
            code="gnobitab/RectifiedFlow",
        ),
        Paper(
            title="InstaFlow: One Step is Enough for High-Quality Diffusion-Based Text-to-Image Generation",
            authors="Xingchao Liu and Xiwen Zhang and Jianzhu Ma and Jian Peng and Qiang Liu",
            year=2023,
            arxiv="2309.06380",
            equation="Sec. 3",
            code="gnobitab/InstaFlow",
        ),
    ),
    requires=("artifact", "network"),
)

Pair = tuple[FitBatch, Tensor]  # X and conditioning; x0 (B, ...)


class NoNoise(SampleNoise):
    """For solvers that must not be stochastic: a pair is an ODE solution."""

    def __init__(self) -> None:
        super().__init__(("fit", 0, "method"), (), ())

    def normal(self) -> Tensor:
        raise Unsupported("pairs are solutions of the ODE; solver must be deterministic")


def times(count: int, density: str, generator: torch.Generator) -> Tensor:
    """(count,) float64 in [0, 1] of a density, by its inverse distribution function."""
    u = torch.rand(count, dtype=torch.float64, generator=generator)
    if density == "uniform":
        return u
    rising = torch.log1p(u * torch.expm1(torch.tensor(4.0, dtype=torch.float64))) / 4
    return torch.where(torch.rand(count, generator=generator) < 0.5, rising, 1 - rising)


def choose(pairs: list[Pair], generator: torch.Generator) -> Pair:
    """One of the batches."""
    return pairs[int(torch.randint(len(pairs), (), generator=generator))]


class Reflow(Distilled):
    """2-rectified flow, distilled for one evaluation.

    Attributes:
        distilled: one evaluation uses the distilled student, not one Euler step of the flow.
        grid: nodes of the Euler steps.
        solver, solver_nfe: how the teacher's ODE is solved for the pairs.
        flow_nfe: Euler steps of the flow for the pairs of the distilled student.
        pairs: how many, rounded up to whole batches; visited in random order.
        density: of t.
        steps, batch, rate, decay: of the training; see ``bench.distill.Distilled``.
    """

    sampling_only: ClassVar[frozenset[str]] = frozenset({"distilled", "grid"})

    distilled: bool = True
    grid: str = "flow_uniform"
    solver: str = "dpm_solver_pp"
    solver_nfe: int = Field(default=18, ge=1)
    flow_nfe: int = Field(default=8, ge=1)
    pairs: int = Field(default=25600, ge=1)
    density: Literal["uniform", "u_shaped"] = "u_shaped"
    steps: int = Field(default=2500, ge=1)

    def artifact_name(self, nfe: int) -> str:
        return "distilled" if self.distilled and nfe == 1 else "flow"

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        return ddim(student(problem), problem.x, problem.grid(self.grid, nfe).nodes)

    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        return self._fit_distilled(task) if self.artifact_name(nfe) == "distilled" else self._fit_flow(task)

    def _pairs(self, task: FitTask, solve: Callable[[FitBatch], Tensor]) -> list[Pair]:
        made: list[Pair] = []
        total = -(-self.pairs // self.batch)
        for done in range(total):
            task.progress(done, total, "pairs")
            batch = task.noise(self.batch)
            with torch.no_grad():
                made.append((batch, solve(batch)))
        return made

    def _fit_flow(self, task: FitTask) -> dict[str, Tensor]:
        solver = task.solver(self.solver)
        grid = task.grid(solver.grid, solver.intervals(self.solver_nfe))
        pairs = self._pairs(task, lambda batch: solver.integrate(batch.denoise, batch.x, grid, NoNoise()))
        network = task.student()
        return self.train(task, network, lambda: self.flow_loss(task, choose(pairs, task.generator), network))

    def flow_loss(self, task: FitTask, pair: Pair, network: nn.Module) -> Tensor:
        """The mean square error of the velocity on one batch of pairs, at random times."""
        batch, x0 = pair
        t_min, t_max = (sigma / (1 + sigma) for sigma in (task.sigma_min, task.sigma_max))
        t = t_min + (t_max - t_min) * times(len(x0), self.density, task.generator)
        sigma = t / (1 - t)
        eps = (batch.x - x0) / task.sigma_max
        error = batch.bind(network)(x0 + align(sigma, x0) * eps, sigma) - x0
        return (error / align(t, x0)).square().mean()

    def _fit_distilled(self, task: FitTask) -> dict[str, Tensor]:
        weights = task.artifact(2)
        flow, network = restored(task, weights), restored(task, weights)
        nodes = task.grid("flow_uniform", self.flow_nfe).nodes
        pairs = self._pairs(task, lambda batch: ddim(batch.bind(flow), batch.x, nodes))

        def loss() -> Tensor:
            batch, x0 = choose(pairs, task.generator)
            return (batch.bind(network)(batch.x, task.sigma_max) - x0).square().mean()

        return self.train(task, network, loss)
