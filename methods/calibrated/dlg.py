r"""Denoising Langevin-Gibbs: a Markov chain in (x, sigma) finds a start near the data, an integrator denoises it.

A move is a Langevin step and a new level from a noise-level classifier, fitted to noised data over log levels:

    x <- x + eta/2 score(x, sigma) + sqrt(eta) z,    score = (D - x) / sigma^2
    sigma <- the most probable level of x

Of the states before and after the moves the one of smallest sigma is integrated to 0 by Karras' Algorithm 2 (1 for
``churn=0``) along the sample's own nodes; Tweedie's step ``D(x, lowest)`` is the last. Kim and Ye 2022, arXiv
2209.14593. A sample has its own chain and pays for all of it, its start by Karras' method included:

    nfe = (2a - 1) + moves + (2b - 1) + 1,    0 <= a - b <= 1;  an odd rest is one move more

Departures from the authors' code:

* Their chains run on from batch to batch: all samples share one start (37 evaluations, 20 moves) and are correlated.
  The paper's results at 10 evaluations are those of long chains; independent ones suffer at such budgets.
* These are their CIFAR-10 settings, scaled from data in [0, 1] to [-1, 1]: variances times 4, levels times 2.
* Their nodes end in ``lowest, 0`` (``end=append``), useless for two intervals: a Heun step from 80 to 0.02.
* The level is the most probable one, as in their code; the paper draws it from the posterior.
* A perceptron on asinh(x) of any shape stands for their convolutional network, with fewer levels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from bench.api import FitTask, Info, Method, Paper, Problem, Unsupported
from bench.denoiser import align

INFO = Info(
    summary="Langevin moves between noise levels from a classifier, then Karras' integrator from each sample's level.",
    family="calibrated",
    papers=(
        Paper(
            title="Denoising MCMC for Accelerating Diffusion-Based Generative Models",
            authors="Beomsu Kim and Jong Chul Ye",
            year=2022,
            arxiv="2209.14593",
            code="1202kbs/DMCMC",
        ),
    ),
    requires=("artifact",),
)

RHO, CHURN_FROM, CHURN_TO, CHURN_NOISE = 7, 0.1, 2.0, 1.007  # rho, S_tmin, S_tmax, S_noise of Karras' Algorithm 2


def logits(x: Tensor, layers: Sequence[Tensor]) -> Tensor:
    """(B, levels): of a perceptron on asinh(x), x (B, d); the last column of each layer's matrix is its bias."""
    for i, layer in enumerate(layers):
        x = functional.linear(x.relu() if i else x.asinh(), layer[:, :-1], layer[:, -1])
    return x


def most_probable(x: Tensor, artifact: Mapping[str, Tensor]) -> Tensor:
    """(B,) float64: the level the classifier prefers for each state."""
    layers = [artifact[f"layer{i}"].to(x.device, torch.float64) for i in range(3)]
    return artifact["level"].to(x.device, torch.float64)[logits(x.flatten(1).double(), layers).argmax(1)]


class DLG(Method):
    """A Langevin-Gibbs chain per sample, then Karras' integrator and a Tweedie step.

    Attributes:
        moves: of the chain, one evaluation each; one more where the budget has an odd rest.
        eta: variance of the noise of a Langevin step.
        restart: standard deviation of the noise that is added to the first sample.
        churn: S_churn of the integrator; 0 is Algorithm 1.
        end: 0 takes the place of the integrator's last node or, as in the authors' code, comes after it.
        lowest: smallest level of the classifier, the integrator and the Tweedie step.
        levels, hidden: outputs and width of the classifier; ``steps``, ``batch``, ``rate``: its training by Adam.
    """

    sampling_only: ClassVar[frozenset[str]] = frozenset({"moves", "eta", "restart", "churn", "end"})

    moves: int = Field(default=1, ge=1)
    eta: float = Field(default=3.2, gt=0)
    restart: float = Field(default=1.0, ge=0)
    churn: float = Field(default=80.0, ge=0)
    end: Literal["zero", "append"] = "zero"
    lowest: float = Field(default=0.02, gt=0)
    levels: int = Field(default=200, ge=2)
    hidden: int = Field(default=96, ge=1)
    steps: int = Field(default=2000, ge=1)
    batch: int = Field(default=256, ge=1)
    rate: float = Field(default=3e-3, gt=0)

    def artifact_name(self, nfe: int) -> str:
        return "classifier"

    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        level = torch.linspace(math.log(self.lowest), math.log(task.sigma_max), self.levels, dtype=torch.float64).exp()
        sizes = itertools.pairwise((task.data(1).x.numel(), self.hidden, self.hidden, self.levels))
        layers = [torch.randn(n, m + 1, generator=task.generator) * math.sqrt(2 / (m + 1)) for m, n in sizes]
        adam = torch.optim.Adam([layer.requires_grad_() for layer in layers], lr=self.rate)
        for step in range(self.steps):
            x0 = task.data(self.batch).x.flatten(1).float()
            label = torch.randint(self.levels, (self.batch,), generator=task.generator)
            x = x0 + align(level[label], x0) * torch.randn(x0.shape, generator=task.generator)
            loss = functional.cross_entropy(logits(x, layers), label)
            for layer, gradient in zip(layers, torch.autograd.grad(loss, layers), strict=True):
                layer.grad = gradient
            adam.step()
            task.progress(step + 1, self.steps, "classifier")
        return {"level": level} | {f"layer{i}": layer.detach().half() for i, layer in enumerate(layers)}

    def _denoised(self, problem: Problem, x: Tensor, start: Tensor, intervals: int) -> Tensor:
        """Karras' method from x (B, ...) at the levels ``start`` (B,) float64 to 0 in 2 intervals - 1 evaluations."""
        u = torch.linspace(0, 1, intervals + (self.end == "zero"), dtype=torch.float64, device=x.device)[:intervals]
        root = start[:, None] ** (1 / RHO)
        nodes = functional.pad((root + u * (self.lowest ** (1 / RHO) - root)) ** RHO, (0, 1))  # (B, intervals + 1)
        gamma = min(self.churn / (intervals + 1), math.sqrt(2) - 1)
        for level, target in itertools.pairwise(nodes.unbind(1)):
            if gamma:
                inside = (level >= CHURN_FROM) & (level <= CHURN_TO)
                raised = (level * (1 + gamma * inside)).clamp(max=problem.sigma_max)
                added = CHURN_NOISE * (raised**2 - level**2).clamp_min(0).sqrt()
                x, level = x + align(added, x) * problem.noise.normal(), raised
            h, slope = align(target - level, x), (x - problem.denoise(x, level)) / align(level, x)
            if bool(target[0]):  # not the last step, which ends in 0
                x_next = x + h * slope
                slope = (slope + (x_next - problem.denoise(x_next, target)) / align(target, x)) / 2
            x = x + h * slope
        return x

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if not problem.artifact:
            raise Unsupported("no noise-level classifier has been fitted for these parameters; bench fit makes one")
        if (rest := nfe - 1 - self.moves) < 2:
            raise Unsupported(f"nfe >= {self.moves + 3}: one to start the chain, the moves, one to denoise, Tweedie's")
        b = (rest + 2) // 4
        top = torch.full((len(problem.x),), problem.sigma_max, dtype=torch.float64, device=problem.x.device)
        x = self._denoised(problem, problem.x, top, (rest + 2) // 2 - b) + self.restart * problem.noise.normal()
        best, lowest = x, sigma = x, most_probable(x, problem.artifact)
        for _ in range(self.moves + rest % 2):
            score = (problem.denoise(x, sigma) - x) / align(sigma**2, x)
            x = x + self.eta / 2 * score + math.sqrt(self.eta) * problem.noise.normal()
            sigma = most_probable(x, problem.artifact)
            best = torch.where(align(sigma < lowest, x).bool(), x, best)
            lowest = torch.minimum(lowest, sigma)
        return problem.denoise(self._denoised(problem, best, lowest, b), self.lowest)
