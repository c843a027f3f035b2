r"""AMED: a two-stage step whose intermediate time, and the length of whose direction, a small network predicts.

Trajectories lie almost in a plane, so by the mean value theorem some direction at an intermediate time carries a state
to the end of a step. With d the direction ``(x - D) / sigma`` and a predictor of ``r in (0, 1)`` and scales near 1::

    sigma_m = sigma_t^r sigma_s^{1-r}
    x_m     = x_s + (sigma_m - sigma_s) d(x_s, sigma_s)
    x_t     = x_s + c (sigma_t - sigma_s) d(x_m, sigma_m),  its D evaluated at a sigma_m

    c = 1 + scale_dir (2 s_1 - 1),   a = 1 + scale_time (2 s_2 - 1),   r, s_1, s_2 sigmoids, all 1/2 at the start

Zhou, Chen, Wang and Chen 2023, "Fast ODE-based Sampling for Diffusion Models in Around 5 Steps", arXiv 2312.00094. Two
evaluations make a step; for odd budgets the first direction is the analytical one, ``x / sqrt(1 + sigma^2)``, and
saves one (AFS). The grid stops at sigma_min, where sigma_m is still positive, and nothing is denoised after it.

Departures: the authors' predictor sees the bottleneck of the U-Net, averaged over channels; here it sees six numbers of
the sample that any denoiser gives: log sigma_s, log sigma_t, the root mean squares of ``x / sqrt(1 + sigma^2)`` and D,
the mean of D and the cosine between x and D (zeros for D under AFS). Fitting visits the steps in order, one update of
Adam for each, as theirs does; the teacher's states are DPM-Solver++'s on a finer grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from bench.api import Denoiser, FitTask, Info, Method, Paper, Problem, Unsupported
from bench.denoiser import align
from bench.trajectory import refined, trajectory

INFO = Info(
    summary="Two-stage steps whose intermediate time a small fitted network predicts, sample by sample.",
    family="calibrated",
    papers=(
        Paper(
            title="Fast ODE-based Sampling for Diffusion Models in Around 5 Steps",
            authors="Zhenyu Zhou and Defang Chen and Can Wang and Chun Chen",
            year=2023,
            arxiv="2312.00094",
            code="zju-pi/diff-sampler",
        ),
    ),
    requires=("artifact",),
)

FEATURES, HIDDEN = 6, 32


class Predictor(nn.Module):
    """(B, 6) -> three numbers in (0, 1) of each sample; 1/2 before it has learned."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(FEATURES, HIDDEN, device="meta")  # no draw from the global generator
        self.outer = nn.Linear(HIDDEN, 3, device="meta")
        for weight in self.to_empty(device="cpu").parameters():
            nn.init.zeros_(weight)

    def forward(self, features: Tensor) -> Tensor:
        """(B, 6) -> (B, 3)."""
        out: Tensor = self.outer(F.silu(self.inner(features))).sigmoid()
        return out


def features(x: Tensor, x0_hat: Tensor | None, sigma_s: float, sigma_t: float) -> Tensor:
    """(B, 6) float32 of a step from sigma_s to sigma_t; x and x0_hat are (B, ...)."""
    flat = x.flatten(1) / math.hypot(1, sigma_s)
    seen = torch.zeros_like(flat) if x0_hat is None else x0_hat.flatten(1)
    sizes = [part.square().mean(1).sqrt() for part in (flat, seen)]
    levels = [torch.full_like(sizes[0], math.log(sigma)) for sigma in (sigma_s, sigma_t)]
    return torch.stack([*levels, *sizes, seen.mean(1), F.cosine_similarity(flat, seen, dim=1)], dim=1).float()


class AMED(Method):
    """AMED-Solver.

    Attributes:
        grid: spec of a grid that ends above 0.
        scale_dir, scale_time: how far the scales c and a may be from 1.
        images, passes: of the fit; each pass updates the predictor once for every step.
        rate: Adam's learning rate.
        teacher_steps: intervals of the teacher's grid in one step.
    """

    grid: str = "karras[end=sigma_min]"
    scale_dir: float = Field(default=0.05, ge=0.0, lt=1.0)
    scale_time: float = Field(default=0.2, ge=0.0, lt=1.0)
    images: int = Field(default=64, ge=1)
    passes: int = Field(default=60, ge=0)
    rate: float = Field(default=5e-3, gt=0.0)
    teacher_steps: int = Field(default=8, ge=1)

    def artifact_name(self, nfe: int) -> str:
        return f"nfe{nfe}"

    def step(self, denoise: Denoiser, predictor: Predictor, x: Tensor, ends: tuple[float, float], afs: bool) -> Tensor:
        """From x (B, ...) at the first level of ``ends`` to the second one."""
        sigma_s, sigma_t = ends
        x0_hat = None if afs else denoise(x, sigma_s)
        slope = x / math.hypot(1, sigma_s) if x0_hat is None else (x - x0_hat) / sigma_s
        r, s_1, s_2 = predictor(features(x, x0_hat, sigma_s, sigma_t)).to(x.dtype).unbind(1)  # (B,) each
        sigma_m = sigma_t**r * sigma_s ** (1 - r)
        x_m = x + align(sigma_m - sigma_s, x) * slope
        at = (1 + self.scale_time * (2 * s_2 - 1)) * sigma_m
        middle = (x_m - denoise(x_m, at.clamp(max=sigma_s))) / align(sigma_m, x)
        return x + align((1 + self.scale_dir * (2 * s_1 - 1)) * (sigma_t - sigma_s), x) * middle

    @staticmethod
    def plan(nodes: list[float], nfe: int) -> Iterator[tuple[tuple[float, float], bool]]:
        """The ends of each step and whether its first direction is the analytical one."""
        if nodes[-1] == 0:
            raise Unsupported("amed needs a grid that ends above 0, such as karras[end=sigma_min]")
        for i, ends in enumerate(pairwise(nodes)):
            yield ends, i == 0 and nfe % 2 == 1

    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        predictor = Predictor()
        nn.init.normal_(predictor.inner.weight, std=FEATURES**-0.5, generator=task.generator)
        nodes, batch = task.grid(self.grid, (nfe + 1) // 2).nodes, task.noise(self.images)
        steps, fine = list(self.plan(nodes, nfe)), refined(nodes, self.teacher_steps, task.process)
        with torch.no_grad():
            targets = trajectory(task.solver("dpm_solver_pp"), batch.denoise, batch.x, fine)[:: self.teacher_steps]
        adam = torch.optim.Adam(predictor.parameters(), lr=self.rate)
        for done in range(self.passes):
            x = batch.x
            for (ends, afs), target in zip(steps, targets[1:], strict=True):
                found = self.step(batch.denoise, predictor, x, ends, afs)
                loss = (found - target).square().mean()
                adam.zero_grad()
                torch.autograd.backward(loss)
                adam.step()
                x = found.detach()
            task.progress(done + 1, self.passes, f"loss {loss.item():.4g}")
        return {name: value.detach() for name, value in predictor.state_dict().items()}

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if not problem.artifact:
            raise Unsupported(f"no predictor is fitted for nfe={nfe}; run bench fit with --nfe {nfe}")
        predictor, x = Predictor().to(problem.x.device), problem.x
        predictor.load_state_dict(dict(problem.artifact))
        for ends, afs in self.plan(problem.grid(self.grid, (nfe + 1) // 2).nodes, nfe):
            x = self.step(problem.denoise, predictor, x, ends, afs)
        return x
