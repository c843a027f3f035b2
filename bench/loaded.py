"""What a process loads once and keeps for the cells to come: teachers, reference statistics, reference solutions.

A reference solution (the teacher's ODE from the same noise) is expensive, so it is also kept on the disk, under a name
that is the hash of all that determines it. It is computed in batches of the suite's size; a cache file that cannot be
read is computed again.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench import registry
from bench.batch import Batch
from bench.definition import reference_of
from bench.errors import OutputError
from bench.features.base import exactly
from bench.metrics.base import Metric, Statistics
from bench.nfe import Ledger
from bench.released.teacher import PipelineTeacher
from bench.sampling import Teacher
from bench.store import write_pieces
from bench.suites._pipeline import PipelineSuite
from bench.suites.base import Suite

FORMAT: Any = np.lib.format  # of .npy files; numpy's stubs leave these functions untyped


@lru_cache(maxsize=2)
def teacher(suite: str, device: str, dtype: str) -> Teacher:
    """The teacher of a suite's spec; of a pipeline one that can load released students."""
    loaded: Suite = registry.create("suite", suite)
    kind = PipelineTeacher if isinstance(loaded, PipelineSuite) else Teacher
    return kind.load(loaded, device, getattr(torch, dtype))


@lru_cache(maxsize=1)
def reference(suite: str) -> Batch:
    """The reference data of a suite's spec."""
    loaded: Suite = registry.create("suite", suite)
    return loaded.reference()


@lru_cache(maxsize=64)
def reference_statistics(suite: str, metric: str) -> Statistics | None:
    """A metric's statistics of the reference data; None if it compares with none.

    Raises:
        UsageError: the suite's file of reference statistics does not serve this metric.
    """
    loaded: Metric[Statistics] = registry.create("metric", metric)
    if not loaded.needs_reference:
        return None
    known = reference_of(registry.create("suite", suite), loaded)
    return loaded.statistics(reference(suite)) if known is None else loaded.reference(known)


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
        return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.npy"


def solution_dtype(dtype: str) -> str:
    """The precision of the reference solution for a network's precision."""
    return "float64" if dtype == "float64" else "float32"


class Solution:
    """A reference solution that is read as it is needed, so that memory does not grow with the number of samples.

    Args:
        source: (samples, ...) the whole of it, or the file of ``_solve``.
    """

    def __init__(self, source: Tensor | Path) -> None:
        self._source = source

    def rows(self, start: int, stop: int) -> Tensor:
        """(stop - start, ...) on the CPU.

        Raises:
            OutputError: the file has gone, or is damaged.
        """
        if isinstance(self._source, Tensor):
            return self._source[start:stop]
        try:
            shape, dtype, offset = _header(self._source)
            width = math.prod(shape[1:])
            skip = offset + start * width * dtype.itemsize
            rows = np.fromfile(self._source, dtype, (stop - start) * width, offset=skip)
            return torch.from_numpy(rows.reshape(stop - start, *shape[1:]))
        except (OSError, ValueError) as error:
            raise OutputError(f"{self._source} cannot be read ({error}); delete it and run the same command") from error


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, dtype and where the numbers begin."""
    with path.open("rb") as file:
        FORMAT.read_magic(file)
        shape, _, dtype = FORMAT.read_array_header_1_0(file)
        return shape, dtype, file.tell()


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        found, dtype, offset = _header(path)
        return found == shape and path.stat().st_size == offset + math.prod(shape) * dtype.itemsize
    except (OSError, ValueError):
        return False


@torch.inference_mode()
def _solve(key: SolutionKey, device: str) -> Iterator[bytes]:
    """The file, piece by piece."""
    loaded = teacher(key.suite, device, key.dtype)
    suite = loaded.suite
    head = io.BytesIO()
    description = {"descr": "<f8" if key.dtype == "float64" else "<f4", "fortran_order": False}
    FORMAT.write_array_header_1_0(head, {**description, "shape": (key.samples, *suite.shape)})
    yield head.getvalue()
    for start in range(0, key.samples, suite.batch):
        index = range(start, min(start + suite.batch, key.samples))
        x = loaded.initial(key.seed, index)
        with exactly(loaded.device):  # as the samples that are compared with it
            found = suite.solve(loaded.denoiser(index, Ledger()), x)
        yield found.cpu().contiguous().numpy().tobytes()


@lru_cache(maxsize=4)
def solution(key: SolutionKey, device: str, folder: Path) -> Solution:
    """The reference solution: shipped, cached in ``folder``, or computed and cached there.

    Raises:
        OutputError: the folder cannot be written to.
    """
    suite: Suite = registry.create("suite", key.suite)
    shipped = suite.shipped_solution(key.seed, key.samples) if key.dtype == "float32" else None
    if shipped is not None:
        return Solution(shipped)
    path = key.path(folder)
    if not _is_whole(path, (key.samples, *suite.shape)):
        write_pieces(path, _solve(key, device))
    return Solution(path)


def prepare_solution(key: SolutionKey, device: str, folder: Path) -> None:
    """Have the solution on the disk, so that the processes that need it do not all compute it."""
    solution(key, device, folder)
