r"""LD3: noise levels learned by gradient descent through the solver, so that few steps end where many do.

With a registered solver ``Psi`` of K steps between levels ``sigma(a)`` and a teacher's samples ``x0`` from the same
noise x, the K numbers a are learned:

    u_k   = u_0 + (u_K - u_0) sum_{i <= k} softmax(a)_i,  sigma_k = u_k^7
    loss  = mean |Psi(x; sigma(a)) - x0|^2

Evaluations may have levels of their own (``decoupled``): number i is made at ``c_i = (s_i^{1/7} + b_i)^7``, s_i being
its level in the solver, |b_i| at most half of the smallest step in u and ``b_0 = 0``, and what it predicts is taken for
the noise at s_i: ``D = x - s_i eps(x, c_i)``. Tong, Liu, Hoang, Van den Broeck and Niepert 2024, "Learning to
Discretize Denoising Diffusion ODEs", arXiv 2405.15506.

A solver takes its levels as numbers, without gradients. Its tableau (``bench.probe``) has them, by finite differences
that cost no evaluation: any solver that is linear in its predictions can be learned for, of one step or several.

Departures from the authors' code: LPIPS is replaced by the mean square, which is their option ``L2``; the noise is
fixed (theirs may move in a ball of radius ``0.001 d / K^2``); u is a root of sigma, since grids end in 0, not lambda or
time; training starts at ``teacher_grid``, not at equal steps; it is shorter (theirs: 50 pairs, 7 epochs, batches of 1
or 2). As in their code the first 2/7 of it leave b at 0, a is learned by RMSprop and b by gradient descent, gradients
have at most norm 1, and what is kept is the best on as many other pairs.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, FitBatch, FitTask, Info, Paper, Problem
from bench.probe import differentiable, same_noise
from bench.process import Process
from bench.schedule import Schedule

INFO = Info(
    summary="Noise levels of the steps and of the evaluations learned by gradients through the solver.",
    family="calibrated",
    papers=(
        Paper(
            title="Learning to Discretize Denoising Diffusion ODEs",
            authors="Vinh Tong and Anji Liu and Trung-Dung Hoang and Guy Van den Broeck and Mathias Niepert",
            year=2024,
            arxiv="2405.15506",
            equation="LD3",
            code="vinhsuhi/LD3",
        ),
    ),
    requires=("artifact",),
)

RHO, CHECK = 7, 6


def moved(denoise: Denoiser, process: Process, levels: Tensor) -> Denoiser:
    """The denoiser whose i-th call is made at ``levels[i]`` (n,) and taken for a noise prediction; for one run only."""
    calls = iter(levels)

    def alpha(sigma: Tensor) -> Tensor:
        return process.alpha(process.time(sigma))

    def at(x: Tensor, sigma: float | Tensor) -> Tensor:
        level, asked = torch.as_tensor(sigma, dtype=torch.float64), next(calls)
        y = x * (alpha(level) / alpha(asked)).to(x.dtype)  # what the network sees stays the same
        noise: Tensor = (y - denoise(y, asked)) / asked.to(x.dtype)
        return x - level.to(x.dtype) * noise

    return at


def levels_of(a: Tensor, u: Tensor) -> Tensor:
    """sigma (K + 1,) from a (K,); the ends are those of u (K + 1,)."""
    share = torch.cat([a.new_zeros(1), a.softmax(0).cumsum(0)[:-1], a.new_ones(1)])
    return torch.lerp(u[0], u[-1], share).pow(RHO)


def asked_levels(levels: Tensor, b: Tensor, sigma: Tensor) -> Tensor:
    """c (n,) from the levels of the evaluations (n,), b (n,) and the levels of the steps (K + 1,)."""
    reach = float((sigma.detach() ** (1 / RHO)).diff().abs().min()) / 2
    shift = torch.cat([b.new_zeros(1), b[1:].clamp(-reach, reach)])
    return ((levels ** (1 / RHO) + shift) ** RHO).clamp(max=float(levels[0].detach()))


class LD3(Schedule):
    """The fitted schedule.

    Attributes:
        solver, sampler: see ``bench.schedule``; another ``sampler`` makes its evaluations at its own levels.
        teacher_grid: spec of the schedule that training starts from.
        decoupled: whether evaluations have levels of their own.
        teacher, teacher_steps: spec of the solver of the samples to be matched, and its number of steps.
        batches, batch: how many batches of how many pairs there are; as many again choose what is kept.
        iterations: of the training, one batch each.
        rate, rate_decoupled: learning rates of a and b.
    """

    solver: str = "dpm_solver_pp"
    decoupled: bool = True
    teacher: str = "dpm_solver_pp"
    teacher_steps: int = Field(default=60, ge=1, le=2000)
    batches: int = Field(default=2, ge=1)
    batch: int = Field(default=16, ge=1)
    iterations: int = Field(default=42, ge=0)
    rate: float = Field(default=0.005, gt=0)
    rate_decoupled: float = Field(default=0.02, gt=0)

    @torch.no_grad()
    def _pair(self, task: FitTask) -> tuple[FitBatch, Tensor]:
        """Noise and the teacher's samples (B, ...) from it."""
        batch, grid = task.noise(self.batch), task.grid(self.teacher_grid, self.teacher_steps)
        return batch, task.solver(self.teacher).integrate(batch.denoise, batch.x, grid, same_noise(batch.x))

    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        u = task.grid(self.teacher_grid, self.steps(task, nfe)).sigma ** (1 / RHO)
        solver = task.solver(self.solver)
        train, judges = ([self._pair(task) for _ in range(self.batches)] for _ in range(2))
        a = (u[:-1] - u[1:]).log().requires_grad_()
        b = torch.zeros(nfe, dtype=torch.float64, requires_grad=True)

        def loss(batch: FitBatch, target: Tensor) -> Tensor:
            sigma = levels_of(a, u)
            tableau = differentiable(solver, sigma, task.process)
            denoise = moved(batch.denoise, task.process, asked_levels(tableau.levels, b, sigma))
            return (tableau(denoise, batch.x) - target).square().mean()

        descents = [torch.optim.RMSprop([a], lr=self.rate, momentum=0.9), torch.optim.SGD([b], lr=self.rate_decoupled)]
        best, kept = math.inf, (a, b)
        for i in range(self.iterations + 1 if nfe > 1 else 1):
            if i % CHECK == 0:
                with torch.no_grad():
                    value = float(sum(loss(*pair) for pair in judges)) / self.batches
                if value < best:
                    best, kept = value, (a.detach().clone(), b.detach().clone())
                task.progress(i, self.iterations, f"mean square {value:.5f}")
            gradients = torch.autograd.grad(loss(*train[i % self.batches]), (a, b))
            both = self.decoupled and 7 * i >= 2 * self.iterations
            for descent, of, gradient in zip(descents[: 1 + both], (a, b), gradients, strict=False):
                of.grad = gradient / max(1.0, float(gradient.norm()))
                descent.step()
        sigma = levels_of(kept[0].detach(), u)
        levels = differentiable(solver, sigma, task.process).levels
        return {"sigma": sigma} | ({"asked": asked_levels(levels, kept[1].detach(), sigma)} if self.decoupled else {})

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if "asked" in problem.artifact and self.sampler in ("", self.solver):
            asked = problem.artifact["asked"].to("cpu", torch.float64)
            problem = dataclasses.replace(problem, denoise=moved(problem.denoise, problem.process, asked))
        return super().sample(problem, nfe)
