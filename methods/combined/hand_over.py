r"""Adaptive teacher-student hand-over: the student samples, an oracle decides, the teacher refines what it sends back.

::

    x0  = student sampler(x_T)
    if the oracle is content:  x0
    else:                      x = x0 + sigma eps, then the teacher's ODE from sigma to 0           (refinement)

Starodubcev, Fedorov, Babenko and Baranchuk 2023, "Your Student is Better Than Expected: Adaptive Teacher-Student
Collaboration for Text-Conditional Diffusion Models", arXiv 2312.10835, Algorithm 1. Their oracle is ImageReward under
a percentile of its scores, their refinement starts at 0.4 of the VP time range.

A reward model is not part of a denoiser's world, so the oracle here is the teacher: what it makes of the renoised
sample, ``D(x0 + sigma eps, sigma)``, is compared with x0, and a sample is handed over if their root mean square
difference exceeds ``threshold``. That evaluation is the first one of the refinement, so the decision costs nothing
more. The decision is per sample; the budget is spent for all, since a batch goes through the network together.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from bench.api import Info, Paper, Problem, Unsupported
from bench.combination import Combined
from bench.denoiser import align
from bench.grids import make_grid

INFO = Info(
    summary="The teacher refines those of the student's samples with which it disagrees.",
    family="combined",
    papers=(
        Paper(
            title="Your Student is Better Than Expected: Adaptive Teacher-Student Collaboration for Text-Conditional "
            "Diffusion Models",
            authors="Nikita Starodubcev and Artem Fedorov and Artem Babenko and Dmitry Baranchuk",
            year=2023,
            arxiv="2312.10835",
            equation="Algorithm 1",
            code="yandex-research/adaptive-diffusion",
        ),
    ),
    requires=("student",),
)


class HandOver(Combined):
    """Student, oracle, teacher.

    Attributes:
        student: spec of the distilled method.
        teacher_steps: evaluations of the refinement, at most half of the budget.
        sigma: noise level at which it starts, in units of the data.
        threshold: root mean square difference per number above which a sample is refined; 0 refines all.
    """

    teacher_steps: int = Field(default=2, ge=1)
    sigma: float = Field(default=0.5, gt=0.0)
    threshold: float = Field(default=0.1, ge=0.0)

    def refinements(self, nfe: int) -> int:
        """How many evaluations are the teacher's."""
        return min(self.teacher_steps, nfe // 2)

    def student_steps(self, nfe: int) -> int:
        if nfe < 2:
            raise Unsupported("one evaluation is the student's and none is left for the teacher; use nfe 2 or more")
        return nfe - self.refinements(nfe)

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        x0 = self.run_student(problem, self.student_steps(nfe), lambda student: student)
        if not problem.sigma_min < self.sigma <= problem.sigma_max:
            raise Unsupported(f"sigma={self.sigma} is not between {problem.sigma_min} and {problem.sigma_max}")
        grid = make_grid("karras", self.refinements(nfe), problem.sigma_min, self.sigma, problem.process)
        x = x0.add(problem.noise.normal(), alpha=self.sigma)
        seen = problem.denoise(x, self.sigma)
        apart = (seen - x0).flatten(1).square().sum(1).sqrt() / math.sqrt(x0[0].numel())  # (B,)
        for i, (sigma_s, sigma_t) in enumerate(grid.steps()):
            x = torch.lerp(seen if i == 0 else problem.denoise(x, sigma_s), x, sigma_t / sigma_s)
        return torch.where(align((apart >= self.threshold).to(x.dtype), x) > 0, x, x0)
