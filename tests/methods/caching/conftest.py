"""A teacher whose every call is noted: what part it computed, at which level, of which state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from bench.api import Problem
from bench.nfe import Ledger
from bench.process import EDM
from bench.reuse import Part
from bench.rng import SampleNoise
from bench.sampling import make_solver


@dataclass
class Log:
    """What happened to the cached denoiser: D = 0.9 x for full calls, 0.5 x for deep ones, 0.7 x for encoder ones."""

    parts: list[Part] = field(default_factory=list)
    sigma: list[float] = field(default_factory=list)
    x: list[Tensor] = field(default_factory=list)

    def __call__(self, x: Tensor, sigma: float | Tensor, part: Part = "full") -> Tensor:
        self.parts.append(part)
        self.sigma.append(float(sigma))
        self.x.append(x.clone())
        return x * {"full": 0.9, "deep": 0.5, "encoder": 0.7}[part]


@pytest.fixture
def make() -> Callable[..., tuple[Problem, Log]]:
    def build(batch: int = 2) -> tuple[Problem, Log]:
        log = Log()
        noise = SampleNoise(("caching", 0, "initial"), range(batch), (3,), torch.float64)

        def no_student(weights: object) -> Log:
            raise AssertionError("there is no student")

        problem = Problem(
            denoise=Ledger().denoiser(log),
            x=80.0 * noise.normal(),
            noise=noise,
            process=EDM(),
            sigma_min=0.002,
            sigma_max=80.0,
            artifact={},
            student=no_student,
            solver=make_solver,
            cached=lambda: log,
        )
        return problem, log

    return build
