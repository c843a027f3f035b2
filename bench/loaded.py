"""What a process loads once and keeps for the cells to come: teachers, reference statistics, reference solutions.

A reference solution (the teacher's ODE from the same noise) is expensive, so it is also kept on the disk, under a name
that is the hash of all that determines it. It is computed in batches of the suite's size; a cache file that cannot be
read is computed again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from bench import registry
from bench.batch import Batch
from bench.metrics.base import Metric, Statistics
from bench.nfe import Ledger
from bench.sampling import Teacher
from bench.store import write_durable
from bench.suites.base import Suite


@lru_cache(maxsize=2)
def teacher(suite: str, device: str, dtype: str) -> Teacher:
    """The teacher of a suite's spec."""
    return Teacher.load(registry.create("suite", suite), device, getattr(torch, dtype))


@lru_cache(maxsize=1)
def reference(suite: str) -> Batch:
    """The reference data of a suite's spec."""
    loaded: Suite = registry.create("suite", suite)
    return loaded.reference()


@lru_cache(maxsize=64)
def reference_statistics(suite: str, metric: str) -> Statistics:
    """A metric's statistics of the reference data."""
    loaded: Metric[Statistics] = registry.create("metric", metric)
    return loaded.statistics(reference(suite))


@dataclass(frozen=True)
class SolutionKey:
    """Which reference solution.

    Attributes:
        suite: canonical spec.
        samples: those with the indices 0..samples-1.
        dtype: of the state and of the network: float64, or float32 for every lower precision, whose error it is part of
            the method's error to show.
    """

    suite: str
    suite_revision: str
    seed: int
    samples: int
    dtype: str

    def path(self, folder: Path) -> Path:
        """The file of this solution."""
        text = "|".join(map(str, (self.suite, self.suite_revision, self.seed, self.samples, self.dtype)))
        return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"


def solution_dtype(dtype: str) -> str:
    """The precision of the reference solution for a network's precision."""
    return "float64" if dtype == "float64" else "float32"


def _cached(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    try:
        found = load(path.read_bytes())["solution"]
    except (OSError, KeyError, SafetensorError):
        return None
    return found if tuple(found.shape) == shape else None


@torch.inference_mode()
def _solve(key: SolutionKey, device: str) -> Tensor:
    loaded = teacher(key.suite, device, key.dtype)
    suite = loaded.suite
    parts = []
    for start in range(0, key.samples, suite.batch):
        index = range(start, min(start + suite.batch, key.samples))
        x = loaded.initial(key.seed, index)
        parts.append(suite.solve(loaded.denoiser(index, Ledger()), x).cpu())
    return torch.cat(parts).contiguous()


@lru_cache(maxsize=4)
def solution(key: SolutionKey, device: str, folder: Path) -> Tensor:
    """(samples, ...) the reference solution on the CPU: shipped, cached in ``folder``, or computed and cached there.

    Raises:
        OutputError: the folder cannot be written to.
    """
    suite: Suite = registry.create("suite", key.suite)
    shipped = suite.shipped_solution(key.seed, key.samples) if key.dtype == "float32" else None
    if shipped is not None:
        return shipped
    path = key.path(folder)
    found = _cached(path, (key.samples, *suite.shape))
    if found is None:
        found = _solve(key, device)
        write_durable(path, save({"solution": found}))
    return found


def prepare_solution(key: SolutionKey, device: str, folder: Path) -> None:
    """Have the solution on the disk, so that the processes that need it do not all compute it."""
    solution(key, device, folder)
