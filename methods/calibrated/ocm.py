r"""Optimal covariance matching: ancestral sampling with a diagonal covariance predicted by a small network.

The posterior covariance of x0 is ``sigma^2 J``, ``J = dD/dx``, and so is, for vectors v of independent signs,

    diag C = sigma^2 E_v[v * (J v)]
    loss   = E |v * (J v) / j - h(x, D, sigma) / j|^2,   j = s^2 / (s^2 + sigma^2),   x = x0 + sigma e

whose minimiser h is the diagonal of J. The step is that of Analytic-DPM with this C: see ``bench.reverse``.

Ou, Zhang, Zhang, Xiao, Li and Barber 2024, "Improving Probabilistic Diffusion Models With Optimal Diagonal Covariance
Matching", arXiv 2406.10808; the authors regress ``sigma^2 diag(Hessian of log p)``, which is ``diag(J) - 1``.

Departures from the authors' code: their head shares the last features of the U-Net; here it is a network of its own,
three layers that see x, D and log sigma (convolutions if the state is an image, else fully connected), so that it
works for any teacher, and its evaluations cost FLOPs, few next to the teacher's. Its output is positive, and 1 stands
for what a Gaussian of the data's standard deviation s has, ``j``: so C stays finite at large sigma, where theirs
relies on clipping. They train with the teacher's own loss for many epochs; here ``iterations`` of Adam, one noise
level each. ``fit_evals`` counts one denoiser row per sample, whose forward pass carries a tangent (about four more).

Variants as in Analytic-DPM; ``average`` takes the mean of C over the coordinates of a sample (their ``avg_cov``).
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from bench.api import Denoiser, FitTask, Grid, Info, Paper, Problem, Solver, Unsupported
from bench.covariance_head import head, new_head, share
from bench.jacobian import jacobian_product
from bench.reverse import Form, Reverse
from bench.rng import SampleNoise

INFO = Info(
    summary="Ancestral sampling, DDPM or DDIM, with a diagonal covariance that a small network predicts.",
    family="calibrated",
    papers=(
        Paper(
            title="Improving Probabilistic Diffusion Models With Optimal Diagonal Covariance Matching",
            authors="Zijing Ou and Mingtian Zhang and Andi Zhang and Tim Z. Xiao and Yingzhen Li and David Barber",
            year=2024,
            arxiv="2406.10808",
            code="J-zin/OCM_DPM",
        ),
    ),
    requires=("artifact",),
)


class OCM(Solver):
    """The sampler and the network that predicts its covariance.

    Attributes:
        form: ``ddpm`` or ``ddim``.
        eta: of the forward process, 0 to 1; ``ddpm`` is 1.
        bound: the data lie in [-bound, bound]; 0 for no bound.
        clip_steps: how many of the last steps that add noise have its variance clipped.
        clip_pixel: to this mean absolute value, in grey levels of 255 over [-1, 1].
        average: one variance per sample.
        width: of the head's hidden layers.
        iterations, batch, rate: of Adam; the rate falls to 0 along a cosine.
    """

    sampling_only: ClassVar[frozenset[str]] = frozenset(
        {"grid", "form", "eta", "bound", "clip_steps", "clip_pixel", "average"}
    )

    form: Form = "ddpm"
    eta: float = Field(default=1.0, ge=0, le=1)
    bound: float = Field(default=0.0, ge=0)
    clip_steps: int = Field(default=0, ge=0)
    clip_pixel: float = Field(default=2.0, ge=0)
    average: bool = False
    width: int = Field(default=32, ge=1)
    iterations: int = Field(default=200, ge=0)
    batch: int = Field(default=64, ge=1)
    rate: float = Field(default=5e-3, gt=0)

    @model_validator(mode="after")
    def _ddpm_eta(self) -> Self:
        if self.form == "ddpm" and self.eta != 1:
            raise ValueError("form=ddpm has eta=1; use form=ddim for another eta")
        return self

    def artifact_name(self, nfe: int) -> str:
        return "head"

    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        x0 = task.data(self.batch).x
        new = new_head(tuple(x0.shape[1:]), self.width, task.generator)
        weights = {name: weight.to(x0).requires_grad_() for name, weight in new.items()}
        adam = torch.optim.Adam(list(weights.values()), lr=self.rate)
        weights["scale"] = x0.std()
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(self.iterations, 1))
        span = math.log(task.sigma_max / task.sigma_min)
        for i in range(self.iterations):
            data = task.data(self.batch)
            e, signs = (torch.randn(data.x.shape, generator=task.generator).to(data.x) for _ in range(2))
            sigma = task.sigma_min * math.exp(span * float(torch.rand((), generator=task.generator)))
            x, signs = data.x + sigma * e, signs.sign()
            x0_hat, product = jacobian_product(data.denoise, x, sigma, signs)
            target = signs * product / share(weights["scale"], sigma)
            loss = (target - head(weights, x, x0_hat, sigma)).square().mean()
            adam.zero_grad()
            torch.autograd.backward(loss)
            adam.step()
            decay.step()
            task.progress(i + 1, self.iterations, f"loss {loss.item():.3f}")
        return {name: weight.detach().float() for name, weight in weights.items()}

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        raise Unsupported("OCM needs its fitted head, which only bench run hands to it; use ddpm or ddim")

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if "scale" not in problem.artifact:
            raise Unsupported(f"no head is fitted; run bench fit with --nfe {nfe}, one fit serves all budgets")
        weights = {name: value.to(problem.x) for name, value in problem.artifact.items()}

        def covariance(x: Tensor, x0_hat: Tensor, sigma: float) -> Tensor:
            found = sigma**2 * share(weights["scale"], sigma) * head(weights, x, x0_hat, sigma)
            return found.mean(tuple(range(1, x.ndim)), keepdim=True) if self.average else found

        step = Reverse(self.form, self.eta, self.bound, self.clip_steps, self.clip_pixel)
        grid = problem.grid(self.grid, self.intervals(nfe))
        return step.run(problem.denoise, problem.x, grid, problem.noise, covariance)
