"""What is timed: one method at one budget and batch size, ready to run again and again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

import torch
from torch import Tensor

from bench.api import Denoiser, Method, Problem
from bench.latency.clock import Clock
from bench.latency.stages import DECODER, DENOISER, TEXT_ENCODER, split
from bench.released.method import Checkpoint, ReleasedProblem, Student
from bench.reuse import CachedDenoiser
from bench.rng import SampleNoise, derive

Result = TypeVar("Result")
Marks = list[tuple[Any, Any]]


class BatchNoise(SampleNoise):
    """Noise in one draw on the device."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._generator = torch.Generator(like.device).manual_seed(derive("latency"))

    def normal(self) -> Tensor:
        return torch.empty_like(self._like).normal_(generator=self._generator)


@dataclass
class Subject:
    """One method at one budget and batch size, ready to run again and again.

    Attributes:
        encode, decode: what comes before and after ``Method.sample`` in a suite with stages.
        detailed: protocol v2, which splits the first call as well, and counts calls that reuse features.
        preparing: marks around what the mode does once; shared with other subjects.
        students: networks already built, and their weights: while these are kept, no others get their addresses.
        released: released students that are loaded; see ``release``.
        loading: marks around the building of students, which is not sampling.
        inside: marks around the calls of each stage while ``watch`` is on.
        first: seconds by stage of the first call, and of what was made for it; empty if it was not split.
    """

    method: Method
    nfe: int
    problem: Problem
    clock: Clock[Any]
    encode: Callable[[], None] | None = None
    decode: Callable[[Tensor], object] | None = None
    detailed: bool = False
    preparing: Marks = field(default_factory=list)
    watch: bool = False
    students: dict[tuple[tuple[str, int], ...], tuple[Mapping[str, Tensor], Denoiser]] = field(default_factory=dict)
    released: dict[tuple[int, int, float | None], Student] = field(default_factory=dict)
    loading: Marks = field(default_factory=list)
    inside: dict[str, Marks] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)

    def student(self, weights: Mapping[str, Tensor]) -> Denoiser:
        """A student, built once."""
        key = tuple((name, value.data_ptr()) for name, value in weights.items())
        if key not in self.students:
            start = self.clock.mark()
            self.students[key] = (dict(weights), self.problem.student(weights))
            self.loading.append((start, self.clock.mark()))
        return self.watched(DENOISER, self.students[key][1])

    def checkpoint(self, card: Checkpoint, nfe: int, guidance_scale: float | None) -> Student:
        """A released student, loaded once between two calls of ``release``."""
        assert isinstance(self.problem, ReleasedProblem)
        key = (id(card), nfe, guidance_scale)
        if key not in self.released:
            start = self.clock.mark()
            self.released[key] = self.problem.checkpoint(card, nfe, guidance_scale)
            self.loading.append((start, self.clock.mark()))
        student = self.released[key]
        return dataclasses.replace(student, denoise=self.watched(DENOISER, student.denoise))

    def release(self) -> None:
        """Let go of released students: others have their turn, and memory is for one of them at a time."""
        self.released.clear()

    def cached(self) -> CachedDenoiser:
        """The denoiser that reuses features; its calls are the denoiser's as well."""
        return self.watched(DENOISER, self.problem.cached())

    def watched(self, stage: str, call: Callable[..., Result]) -> Callable[..., Result]:
        """A call with marks around it, while they are wanted."""
        if not self.watch:
            return call

        def timed(*args: Any, **kwargs: Any) -> Result:
            start = self.clock.mark()
            result = call(*args, **kwargs)
            self.inside.setdefault(stage, []).append((start, self.clock.mark()))
            return result

        return timed

    def prepare(self) -> Callable[[], Tensor]:
        """A call that samples once, stages and all; all that is not that has been done."""
        problem = dataclasses.replace(
            self.problem,
            x=self.problem.x.clone(),
            denoise=self.watched(DENOISER, self.problem.denoise),
            student=self.student,
            cached=self.cached if self.detailed else self.problem.cached,
        )
        if isinstance(problem, ReleasedProblem):
            problem = dataclasses.replace(problem, checkpoint=self.checkpoint)
        if self.encode is None or self.decode is None:
            return lambda: self.method.sample(problem, self.nfe)
        encode, decode = self.watched(TEXT_ENCODER, self.encode), self.watched(DECODER, self.decode)

        def whole() -> Tensor:
            encode()
            samples = self.method.sample(problem, self.nfe)
            decode(samples)
            return samples

        return whole

    def run(self, beside: Callable[[], object] | None = None) -> float:
        """Seconds of one call.

        Args:
            beside: called outside what is timed; see ``Clock.time``.
        """
        return self.clock.time(self.prepare(), beside)

    def cold(self) -> float:
        """Seconds of the first call without the loading of students and without what the mode does once.

        Raises:
            Unsupported: the method cannot do this budget.
            ValueError: the samples have another shape, or are not finite.
        """
        results: list[Tensor] = []
        made = len(self.preparing)
        self.watch = self.detailed
        self.inside.clear()
        call = self.prepare()
        total = self.clock.time(lambda: results.append(call()))
        self.watch = False
        samples, shape = results[0], self.problem.x.shape
        if samples.shape != shape or not bool(torch.isfinite(samples).all()):
            raise ValueError(f"samples are not finite, or {tuple(samples.shape)} and not {tuple(shape)}")
        compiling, loading = self._sum(self.preparing[made:]), self._sum(self.loading)
        total -= loading + compiling
        if self.detailed:
            inside = self._inside()
            inside[DENOISER] = inside.get(DENOISER, 0.0) - compiling  # it happens inside the denoiser's first call
            self.first = split(total, inside)
            self.first |= {"compile": compiling} if self.preparing[made:] else {}
            self.first |= {"load_student": loading} if self.loading else {}
        return total

    def _sum(self, marks: Sequence[tuple[Any, Any]]) -> float:
        return sum(self.clock.seconds(*pair) for pair in marks)

    def _inside(self) -> dict[str, float]:
        return {stage: self._sum(marks) for stage, marks in self.inside.items()}

    def split(self) -> tuple[float, dict[str, float]]:
        """Seconds of one call with marks around its stages, and of each stage."""
        self.watch = True
        self.inside.clear()
        total = self.run()
        self.watch = False
        inside = self._inside()
        return total, split(total, {DENOISER: 0.0, **inside})

    def share(self, runs: int, seconds: float) -> float:
        """The median share of a call that is spent inside the denoiser.

        Args:
            runs: how many calls.
            seconds: after which no further one is begun.
        """
        shares: list[float] = []
        spent = 0.0
        while not shares or (len(shares) < runs and spent < seconds):
            total, stages = self.split()
            spent += total
            shares.append(stages[DENOISER] / total)
        return median(shares)
