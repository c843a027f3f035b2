r"""Analytic-DPM: ancestral sampling with the variance that is optimal for the teacher, one number per noise level.

The best Gaussian for ``q(x_t | x_s)`` in a step from ``sigma_s`` to ``sigma_t`` has the mean of DDPM or DDIM and

    std^2    = lambda^2 + (1 - sqrt(sigma_t^2 - lambda^2) / sigma_s)^2 C
    lambda^2 = eta^2 sigma_t^2 (1 - sigma_t^2 / sigma_s^2)
    C        = sigma_s^2 (1 - sigma_s^2 E|score(x)|^2 / d),   score(x) = (D(x) - x) / sigma_s^2

Bao, Li, Zhu and Zhang 2022, "Analytic-DPM: an Analytic Estimate of the Optimal Reverse Variance in Diffusion
Probabilistic Models", arXiv 2201.06503, Theorem 1 and Sec. 3.1, in the coordinates used here. If D is exact, C is the
mean posterior variance of x0 over data and dimensions. One artifact serves all budgets.

``fit`` estimates C by Monte Carlo on ``levels`` noise levels; between them it is interpolated in log sigma. With ``x
= x0 + sigma e`` the expectation is that of ``-(2 sigma e (x0 - D) + |x0 - D|^2) / d``, over pairs e, -e: the same
number without the noise of ``|e|^2``, which at sigma = 80 is many times C. The authors average ``|eps|^2`` as it is
over all training data, and clip. ``fit_evals`` counts every denoiser row, two per image and level.

Variants: ``form=ddpm`` (eta = 1) or ``form=ddim`` with any eta; they differ where D is clipped. The authors take data
in [-1, 1], clip D and bound C by 1 (Theorem 2): ``bound=1``; off by default, because it is wrong for latents. They clip
the noise of the last steps to ``clip_pixel`` grey levels: ``clip_steps=1``; off by default, as in their code.
"""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from bench.api import Denoiser, FitTask, Grid, Info, Paper, Problem, Solver, Unsupported
from bench.reverse import Form, Reverse, interpolate
from bench.rng import SampleNoise

INFO = Info(
    summary="Ancestral sampling, DDPM or DDIM, with the optimal variance from the mean square of the teacher's score.",
    family="calibrated",
    papers=(
        Paper(
            title="Analytic-DPM: an Analytic Estimate of the Optimal Reverse Variance "
            "in Diffusion Probabilistic Models",
            authors="Fan Bao and Chongxuan Li and Jun Zhu and Bo Zhang",
            year=2022,
            arxiv="2201.06503",
            equation="Theorem 1",
            code="baofff/Analytic-DPM",
        ),
    ),
    requires=("artifact",),
)


class AnalyticDPM(Solver):
    """The sampler and its variances.

    Attributes:
        form: ``ddpm`` or ``ddim``.
        eta: of the forward process, 0 to 1; ``ddpm`` is 1.
        bound: the data lie in [-bound, bound]; 0 for no bound.
        clip_steps: how many of the last steps that add noise have its variance clipped.
        clip_pixel: to this mean absolute value, in grey levels of 255 over [-1, 1].
        levels, images, batch: noise levels, training samples and batch size of the fit.
    """

    sampling_only: ClassVar[frozenset[str]] = frozenset({"grid", "form", "eta", "bound", "clip_steps", "clip_pixel"})

    form: Form = "ddpm"
    eta: float = Field(default=1.0, ge=0, le=1)
    bound: float = Field(default=0.0, ge=0)
    clip_steps: int = Field(default=0, ge=0)
    clip_pixel: float = Field(default=2.0, ge=0)
    levels: int = Field(default=40, ge=2)
    images: int = Field(default=512, ge=1)
    batch: int = Field(default=64, ge=1)

    @model_validator(mode="after")
    def _ddpm_eta(self) -> Self:
        if self.form == "ddpm" and self.eta != 1:
            raise ValueError("form=ddpm has eta=1; use form=ddim for another eta")
        return self

    def artifact_name(self, nfe: int) -> str:
        return "moments"

    @torch.no_grad()
    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        sigma = task.grid("logsnr[end=sigma_min]", self.levels - 1).sigma
        total = torch.zeros(len(sigma), dtype=torch.float64)
        for begin in range(0, self.images, self.batch):
            data = task.data(min(self.batch, self.images - begin))
            e = torch.randn(data.x.shape, generator=task.generator).to(data.x)
            for i, level in enumerate(sigma.tolist()):
                for noise in (level * e, -level * e):
                    error = (data.x - data.denoise(data.x + noise, level)).double()
                    total[i] -= ((2 * noise + error) * error).flatten(1).mean(1).sum()
            task.progress(begin + len(e), self.images, "moments")
        covariance = total / (2 * self.images)
        return {"sigma": sigma, "covariance": torch.minimum(covariance.clamp(min=0), sigma**2)}

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        raise Unsupported("Analytic-DPM needs its fitted moments, which only bench run hands to it; use ddpm or ddim")

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if "covariance" not in problem.artifact:
            raise Unsupported(f"no moments are fitted; run bench fit with --nfe {nfe}, one fit serves all budgets")
        sigma, values = (problem.artifact[name] for name in ("sigma", "covariance"))

        def covariance(x: Tensor, x0_hat: Tensor, level: float) -> Tensor:
            return interpolate(sigma, values, level)

        step = Reverse(self.form, self.eta, self.bound, self.clip_steps, self.clip_pixel)
        grid = problem.grid(self.grid, self.intervals(nfe))
        return step.run(problem.denoise, problem.x, grid, problem.noise, covariance)
