r"""Distillation++: during the student's first steps its prediction is drawn towards the teacher's.

At a guided step the student's prediction is renoised to the level s and denoised by the teacher (score distillation
sampling as a step of data-proximal optimisation)::

    x0      = student(x, sigma_k)
    x0_T    = teacher(x0 + s eps, s)
    x0_hat  = (1 - weight) x0 + weight x0_T

and sampling goes on from ``x0_hat`` by the student's own rule.

Park, Lee and Ye 2024, "Inference-Time Diffusion Model Distillation", arXiv 2412.08871.

Both networks are counted: a guided step is two sequential evaluations. The authors' code could not be read when this
was written: the level s, here the geometric mean of the step's level and the smallest one raised to ``depth``, and the
default weight are ours.
"""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Info, Paper, Problem, Unsupported
from bench.combination import Combined

INFO = Info(
    summary="The teacher corrects the student's prediction in its first steps.",
    family="combined",
    papers=(
        Paper(
            title="Inference-Time Diffusion Model Distillation",
            authors="Geon Yeong Park and Sang Wan Lee and Jong Chul Ye",
            year=2024,
            arxiv="2412.08871",
        ),
    ),
    requires=("student",),
)


class DistillationPP(Combined):
    """A student with a teacher's guidance.

    Attributes:
        student: spec of the distilled method.
        guided: how many of the student's first steps are guided, each for one evaluation more.
        weight: lambda; 0 is the student alone, 1 replaces its prediction.
        depth: s is ``sigma_k^(1 - depth) sigma_min^depth``; 0 renoises to the step's own level.
    """

    guided: int = Field(default=1, ge=0)
    weight: float = Field(default=0.2, ge=0.0, le=1.0)
    depth: float = Field(default=0.5, ge=0.0, le=1.0)

    def student_steps(self, nfe: int) -> int:
        steps = nfe - self.guided
        if steps < max(1, self.guided):
            raise Unsupported(f"{self.guided} guided steps take {2 * self.guided} evaluations; use a larger nfe")
        return steps

    def level(self, sigma: float, sigma_min: float) -> float:
        """s, the noise level at which the teacher looks at the student's prediction."""
        return math.exp((1 - self.depth) * math.log(sigma) + self.depth * math.log(sigma_min))

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        def guided(student: Denoiser) -> Denoiser:
            done = 0

            def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
                nonlocal done
                x0 = student(x, sigma)
                done += 1
                if done > self.guided:
                    return x0
                s = self.level(float(sigma), problem.sigma_min)
                return x0.lerp(problem.denoise(x0.add(problem.noise.normal(), alpha=s), s), self.weight)

            return denoise

        return self.run_student(problem, self.student_steps(nfe), guided)
