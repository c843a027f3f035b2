"""What is timed: one method at one budget and batch size, ready to run again and again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor

from bench.api import Denoiser, Method, Problem
from bench.latency.clock import Clock
from bench.rng import SampleNoise, derive


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
        students: networks already built, and their weights: while these are kept, no others get their addresses.
        loading: marks around the building of students, which is not sampling.
        inside: marks around denoiser calls while ``watch`` is on.
    """

    method: Method
    nfe: int
    problem: Problem
    clock: Clock[Any]
    watch: bool = False
    students: dict[tuple[tuple[str, int], ...], tuple[Mapping[str, Tensor], Denoiser]] = field(default_factory=dict)
    loading: list[tuple[Any, Any]] = field(default_factory=list)
    inside: list[tuple[Any, Any]] = field(default_factory=list)

    def student(self, weights: Mapping[str, Tensor]) -> Denoiser:
        """A student, built once."""
        key = tuple((name, value.data_ptr()) for name, value in weights.items())
        if key not in self.students:
            start = self.clock.mark()
            self.students[key] = (dict(weights), self.problem.student(weights))
            self.loading.append((start, self.clock.mark()))
        return self.watched(self.students[key][1])

    def watched(self, denoise: Denoiser) -> Denoiser:
        """A denoiser with marks around each call, while they are wanted."""
        if not self.watch:
            return denoise

        def timed(x: Tensor, sigma: float | Tensor) -> Tensor:
            start = self.clock.mark()
            x0_hat = denoise(x, sigma)
            self.inside.append((start, self.clock.mark()))
            return x0_hat

        return timed

    def prepare(self) -> Callable[[], Tensor]:
        """A call that samples once; all that is not sampling has been done."""
        problem = dataclasses.replace(
            self.problem, x=self.problem.x.clone(), denoise=self.watched(self.problem.denoise), student=self.student
        )
        return lambda: self.method.sample(problem, self.nfe)

    def run(self) -> float:
        """Seconds of one call."""
        return self.clock.time(self.prepare())

    def cold(self) -> float:
        """Seconds of the first call without the loading of students.

        Raises:
            Unsupported: the method cannot do this budget.
            ValueError: the samples have another shape, or are not finite.
        """
        results: list[Tensor] = []
        call = self.prepare()
        total = self.clock.time(lambda: results.append(call()))
        samples, shape = results[0], self.problem.x.shape
        if samples.shape != shape or not bool(torch.isfinite(samples).all()):
            raise ValueError(f"samples are not finite, or {tuple(samples.shape)} and not {tuple(shape)}")
        return total - sum(self.clock.seconds(*marks) for marks in self.loading)

    def share(self, runs: int, seconds: float) -> float:
        """The median share of a call that is spent inside the denoiser.

        Args:
            runs: how many calls.
            seconds: after which no further one is begun.
        """
        self.watch = True
        shares: list[float] = []
        spent = 0.0
        while not shares or (len(shares) < runs and spent < seconds):
            self.inside.clear()
            total = self.run()
            spent += total
            shares.append(sum(self.clock.seconds(*marks) for marks in self.inside) / total)
        self.watch = False
        return median(shares)
