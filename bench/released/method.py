"""Released students as methods: a declaration names a checkpoint, and this runs it as its authors prescribe.

A declaration is a class with one ClassVar::

    class SDXLTurbo(Released):
        checkpoint = Checkpoint(repository="stabilityai/sdxl-turbo", ...)

The suite brings the base pipeline: its text encoders, its prompts and its decoder; the student's weights replace those
of the denoiser. Nothing is downloaded: weights that are not there make an ``unsupported`` record that says how to get
them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.api import Info, Method, Paper, Problem, Unsupported
from bench.denoiser import Denoiser
from bench.process import Process
from bench.released.checkpoint import Checkpoint
from bench.released.prescribed import Route, run

__all__ = ["Checkpoint", "Info", "Paper", "Released", "ReleasedProblem", "Student"]


@dataclass(frozen=True)
class Student:
    """A released student bound to the samples of a batch.

    Attributes:
        denoise: counted like the teacher, conditioning and the student's own guidance bound.
        process: the student's own process.
    """

    denoise: Denoiser
    process: Process


def _no_student(checkpoint: Checkpoint, nfe: int, guidance_scale: float | None) -> Student:
    raise Unsupported("this suite has no diffusers pipeline")


@dataclass(frozen=True)
class ReleasedProblem(Problem):
    """A problem whose teacher is a diffusers pipeline.

    Attributes:
        checkpoint: loads a student for a budget into the teacher's architecture; the last argument replaces the
            prescribed guidance scale. Raises ``Unsupported`` in one sentence: the weights are missing, are a pickle, or
            belong to another architecture.
    """

    checkpoint: Callable[[Checkpoint, int, float | None], Student] = _no_student


class Released(Method):
    """A released student with its prescribed sampler.

    Attributes:
        guidance_scale: replaces the authors' scale; None keeps it.
    """

    checkpoint: ClassVar[Checkpoint]

    guidance_scale: float | None = None

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        card = self.checkpoint
        if nfe not in card.timesteps:
            raise Unsupported(f"{card.repository} was released for {card.budgets} evaluations, not {nfe}")
        if not isinstance(problem, ReleasedProblem):
            raise Unsupported(
                f"{card.repository} is a student of {card.base[0]}, which needs the diffusers suite of that model"
            )
        student = problem.checkpoint(card, nfe, self.guidance_scale)
        route = Route(card, student.process, card.timesteps[nfe])
        return run(student.denoise, problem.x / problem.sigma_max, problem.noise.normal, route)
