"""Two linear denoisers, teacher and student, whose calls are noted in one list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from bench.api import Denoiser, Method, Problem
from bench.nfe import Ledger
from bench.process import EDM
from bench.registry import create
from bench.rng import SampleNoise
from bench.sampling import make_solver

TEACHER, STUDENT = 0.9, 0.4


@dataclass
class Log:
    """Who was called, at which level; D is a multiple of x."""

    calls: list[tuple[str, float]] = field(default_factory=list)

    def denoiser(self, name: str, gain: float) -> Denoiser:
        def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
            self.calls.append((name, float(sigma)))
            return gain * x

        return denoise

    @property
    def names(self) -> str:
        """Such as ``"sst"``: student, student, teacher."""
        return "".join(name[0] for name, _ in self.calls)


@pytest.fixture
def make() -> Callable[..., tuple[Problem, Log]]:
    def build(artifact: bool = True) -> tuple[Problem, Log]:
        log, ledger = Log(), Ledger(budget=100)
        noise = SampleNoise(("combined", 0, "method"), range(3), (4,), torch.float64)
        start = SampleNoise(("combined", 0, "initial"), range(3), (4,), torch.float64)
        weights = {"w": torch.zeros(1)} if artifact else {}

        def method(spec: str) -> Method:
            found: Method = create("method", spec)
            return found

        problem = Problem(
            denoise=ledger.denoiser(log.denoiser("teacher", TEACHER)),
            x=80.0 * start.normal(),
            noise=noise,
            process=EDM(),
            sigma_min=0.002,
            sigma_max=80.0,
            artifact=weights,
            student=lambda found: ledger.denoiser(log.denoiser("student", STUDENT)),
            solver=make_solver,
            method=method,
        )
        return problem, log

    return build


@pytest.fixture
def draws() -> Callable[[], SampleNoise]:
    """The same stream that ``Problem.noise`` of ``make`` is, from its beginning."""
    return lambda: SampleNoise(("combined", 0, "method"), range(3), (4,), torch.float64)
