"""A suite that trains in seconds, and its fit task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import registry
from bench.fit import Fitter, Task
from bench.nfe import Ledger
from bench.rng import generator
from bench.sampling import Teacher

TOY = Path(__file__).parents[2] / "fixtures" / "toy.py"
Make = Callable[..., Any]


@pytest.fixture
def toy() -> Make:
    """``toy()`` or ``toy("toy[spread=0]")``."""
    registry.add_path("suite", TOY)
    return lambda spec="toy": registry.create("suite", spec)


@pytest.fixture
def task() -> Make:
    """``task(suite)``: a fit task that has no other artifacts."""

    def make(suite: Any, seed: int = 0) -> Task:
        def other(nfe: int) -> Any:
            raise AssertionError(f"asked for the artifact of {nfe}")

        return Task(suite, generator("test", seed), other)

    return make


@pytest.fixture
def fitted(tmp_path: Path) -> Make:
    """``fitted(suite, "progressive[steps=3]", 2)``: the artifact, and the method it belongs to."""

    def fit(suite: Any, spec: str, nfe: int) -> Any:
        method = registry.create("method", spec)
        return method, Fitter(suite, tmp_path).fit(method, registry.parse(spec).name, nfe)

    return fit


@pytest.fixture
def sample() -> Make:
    """``sample(suite, method, nfe, tensors)``: samples (B, ...), the initial states, and the ledger."""

    def run(suite: Any, method: Any, nfe: int, tensors: Any) -> tuple[torch.Tensor, torch.Tensor, Ledger]:
        teacher = Teacher.load(suite)
        samples, ledger = teacher.generate(method, nfe, 0, range(16), tensors)
        return samples, teacher.initial(0, range(16)), ledger

    return run
