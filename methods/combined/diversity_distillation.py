r"""Diversity distillation: the base model makes the first step of the sampler, the distilled model the others.

What a distilled model loses in diversity it loses at its first step, which fixes the composition. With K steps::

    k < base_steps    x0_hat = teacher(x, sigma_k)
    k >= base_steps   x0_hat = student(x, sigma_k)

along the student's own levels and by its own rule (renoising or deterministic).

Gandikota and Bau 2025, "Distilling Diversity and Control in Diffusion Models", arXiv 2503.10637, Sec. 5.

Both networks are counted: ``nfe = K``; under guidance the teacher's calls are two network evaluations each. With a
student that renoises (consistency), the teacher's prediction takes the place of the student's; the authors' code runs
the base model by its own scheduler until the time where the student takes over.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Info, Paper, Problem, Unsupported
from bench.combination import Combined

INFO = Info(
    summary="The teacher makes the first step of the student's sampler, for diversity.",
    family="combined",
    papers=(
        Paper(
            title="Distilling Diversity and Control in Diffusion Models",
            authors="Rohit Gandikota and David Bau",
            year=2025,
            arxiv="2503.10637",
            code="rohitgandikota/distillation",
        ),
    ),
    requires=("student",),
)


class DiversityDistillation(Combined):
    """Teacher first, student after.

    Attributes:
        student: spec of the distilled method.
        base_steps: k, how many of the first steps are the teacher's.
    """

    base_steps: int = Field(default=1, ge=0)

    def student_steps(self, nfe: int) -> int:
        if nfe <= self.base_steps:
            raise Unsupported(f"{self.base_steps} steps of the teacher leave none for the student; use a larger nfe")
        return nfe

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        teacher = problem.denoise

        def handed_over(student: Denoiser) -> Denoiser:
            done = 0

            def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
                nonlocal done
                done += 1
                return (teacher if done <= self.base_steps else student)(x, sigma)

            return denoise

        return self.run_student(problem, self.student_steps(nfe), handed_over)
