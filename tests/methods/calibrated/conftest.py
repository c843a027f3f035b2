"""Shared by the calibrated methods' tests: fitting on closed-form teachers, errors against the exact ODE."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from bench.api import Method
from bench.fit import Task
from bench.sampling import Teacher
from bench.suites.mixture import Mixture, Preset


@pytest.fixture(scope="session")
def task() -> Callable[..., Task]:
    """``task(preset, seed)``: a new fitting task on a mixture without guidance."""

    def make(preset: Preset = "mixture-2d", seed: int = 1) -> Task:
        def other(nfe: int) -> None:
            raise AssertionError("calibration starts from no other artifact")

        return Task(Mixture(preset=preset), torch.Generator().manual_seed(seed), other)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def error() -> Callable[..., float]:
    """``error(method, nfe, artifact, preset)``: root mean square error from fresh noise, in units of the data."""

    def measure(method: Method, nfe: int, artifact: Mapping[str, Tensor], preset: Preset = "mixture-2d") -> float:
        suite, index = Mixture(preset=preset), range(200)
        teacher = Teacher.load(suite, dtype=torch.float64)
        samples, ledger = teacher.generate(method, nfe, 7, index, artifact)
        assert ledger.nfe == nfe
        exact = suite.solve(lambda x, sigma: suite.gmm.denoise(x, sigma), teacher.initial(7, index))
        return float((samples - exact).square().mean().sqrt())

    return measure
