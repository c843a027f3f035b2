r"""Consistency models: f(x, sigma) carries any point of a trajectory of the probability-flow ODE to its clean end.

With Karras nodes ``sigma_1 = eps < ... < sigma_N = sigma_max``, n uniform and f^- a moving average of f::

    f(x, sigma) = D(x, sigma) + (eps / sigma) (x - D(x, sigma)),   eps = sigma_min
    loss        = d(f(x_{n+1}, sigma_{n+1}), f^-(x_n, sigma_n)),   x_{n+1} = x0 + sigma_{n+1} z

Distillation (``cd``): x_n is the teacher's Heun step from x_{n+1}. Training (``ct``): ``x_n = x0 + sigma_n z`` with the
same z, no teacher in the loss, and schedules over the updates k = 0..K-1::

    N(k) = ceil(sqrt(k/K ((s1 + 1)^2 - s0^2) + s0^2) - 1) + 1,   mu(k) = exp(s0 log mu0 / N(k))

Sampling: ``x = f(sigma_max z, sigma_max)``, and for each further level ``x = f(x + sqrt(tau^2 - eps^2) z, tau)``.

Song, Dhariwal, Chen and Sutskever 2023, arXiv 2303.01469: Algorithms 1-3, App. C (schedules). Departures from the
authors' code (openai/consistency_models): f is a DDIM step of the network's x0 down to eps, so any D has the boundary
f(x, eps) = x; its c_out is theirs, its c_skip differs by O(eps). The distance is pseudo-Huber (arXiv 2310.14189), since
LPIPS needs a network of natural images. ``ct`` starts from the teacher's weights, and therefore with more than 2 nodes:
from nothing it would need many times the updates. ``cd`` has mu = 0.95, theirs for ImageNet; with 0, theirs for
CIFAR-10, training on the digits suite did not settle (FD 212 at one evaluation, worse than the teacher's own). Levels
of several steps are those of a grid, not searched by FID.
"""

from __future__ import annotations

import copy
import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.api import Denoiser, FitTask, Info, Paper, Problem, Unsupported
from bench.denoiser import align, per_sample
from bench.distill import Distilled, heun_step, normal_like, pseudo_huber, student

INFO = Info(
    summary="One network that jumps from any noise level to the data; by distillation (cd) or training (ct).",
    family="distilled",
    papers=(
        Paper(
            title="Consistency Models",
            authors="Yang Song and Prafulla Dhariwal and Mark Chen and Ilya Sutskever",
            year=2023,
            arxiv="2303.01469",
            equation="Algorithms 1-3",
            code="openai/consistency_models",
        ),
    ),
    requires=("artifact", "network"),
)


def jump(denoise: Denoiser, sigma_min: float) -> Denoiser:
    """f(x, sigma), which is x at ``sigma_min``."""

    def f(x: Tensor, sigma: float | Tensor) -> Tensor:
        return torch.lerp(denoise(x, sigma), x, align(sigma_min / per_sample(sigma, x), x))

    return f


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """``average <- decay average + (1 - decay) network``, for every weight."""
    for old, new in zip(average.parameters(), network.parameters(), strict=True):
        old.lerp_(new, 1 - decay)


class Consistency(Distilled):
    """Consistency distillation or training; one artifact for every budget.

    Attributes:
        mode: ``cd`` or ``ct``.
        grid: the levels visited by several steps are the nodes of this grid, its last one left out.
        nodes: N of ``cd``.
        target_decay: mu of ``cd``.
        s0, s1, mu0: first and last number of nodes, and first mu, of ``ct``.
        steps, batch, rate, decay: of the training; see ``bench.distill.Distilled``.
    """

    sampling_only: ClassVar[frozenset[str]] = frozenset({"grid"})

    mode: Literal["cd", "ct"] = "cd"
    grid: str = "logsnr"
    nodes: int = Field(default=18, ge=2)
    target_decay: float = Field(default=0.95, ge=0, lt=1)
    s0: int = Field(default=10, ge=2)
    s1: int = Field(default=40, ge=2)
    mu0: float = Field(default=0.9, gt=0, lt=1)
    steps: int = Field(default=2500, ge=1)

    def artifact_name(self, nfe: int) -> str:
        return self.mode

    def schedule(self, step: int) -> tuple[int, float]:
        """``(N, mu)`` at an update; App. C."""
        if self.mode == "cd":
            return self.nodes, self.target_decay
        share = step / self.steps
        count = math.ceil(math.sqrt(share * ((self.s1 + 1) ** 2 - self.s0**2) + self.s0**2) - 1) + 1
        return count, math.exp(self.s0 * math.log(self.mu0) / count)

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        f = jump(student(problem), problem.sigma_min)
        levels = problem.grid(self.grid, nfe).nodes[1:-1]
        if levels and levels[-1] < problem.sigma_min:
            raise Unsupported(f"the grid {self.grid} has levels below sigma_min = {problem.sigma_min}")
        x = f(problem.x, problem.sigma_max)
        for tau in levels:
            x = f(x + math.sqrt(tau**2 - problem.sigma_min**2) * problem.noise.normal(), tau)
        return x

    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        network = task.student()
        average = copy.deepcopy(network)
        updates = iter(range(self.steps))

        def loss() -> Tensor:
            count, decay = self.schedule(next(updates))
            follow(average, network, decay)
            nodes = task.grid("karras[end=sigma_min]", count - 1).sigma  # (N,), from noisy to clean
            return self.loss(task, nodes, network, average).mean()

        return self.train(task, network, loss)

    def loss(self, task: FitTask, nodes: Tensor, network: nn.Module, average: nn.Module) -> Tensor:
        """(B,) distances on one batch; ``nodes`` (N,) decrease to ``sigma_min``."""
        batch = task.data(self.batch)
        n = torch.randint(len(nodes) - 1, (self.batch,), generator=task.generator)
        sigma_s, sigma_t = nodes[n], nodes[n + 1]
        z = normal_like(batch.x, task.generator)
        x_s = batch.x + align(sigma_s, z) * z
        with torch.no_grad():
            if self.mode == "cd":
                x_t = heun_step(batch.denoise, x_s, sigma_s, sigma_t)
            else:
                x_t = batch.x + align(sigma_t, z) * z
            target = jump(batch.bind(average), task.sigma_min)(x_t, sigma_t)
        return pseudo_huber(jump(batch.bind(network), task.sigma_min)(x_s, sigma_s) - target)
