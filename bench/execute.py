"""One cell, from its identity to its numbers, in whatever process; nothing is written here but cached solutions.

::

    probe (2 samples, counted FLOPs) | batch: generate -> describe -> statistics += | value against the reference

What is the same for many cells is kept by the process: ``bench.loaded``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench import artifacts, loaded, registry
from bench.api import Method
from bench.cell import Cell
from bench.environment import describe
from bench.features.base import use_device
from bench.loaded import SolutionKey, solution_dtype
from bench.metrics.base import Estimate, Metric
from bench.nfe import Ledger
from bench.preview import Previews
from bench.record import FitCost, Latency, Measured
from bench.released.method import Released
from bench.sampling import Teacher
from bench.scoring import Behind, Scores
from bench.shrink import batches
from bench.spec import parse
from bench.suites.base import Suite

PROBE = 2  # samples, as some methods treat a batch of one differently; fewer where a batch is smaller


@dataclass(frozen=True)
class Job:
    """What a process needs to work on a cell.

    Attributes:
        batch: samples generated at once; no number depends on it.
        artifacts: extra folder with fitted artifacts.
        reference: folder of cached reference solutions.
    """

    cell: Cell
    batch: int
    artifacts: Path | None
    reference: Path


@dataclass(frozen=True)
class Result:
    """The fields of a record that come from running its cell, and the arrays that are kept beside it."""

    metrics: dict[str, Measured] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    latency: tuple[Latency, ...] = ()
    nfe: int | None = None
    network_evals: float | None = None
    flops: float | None = None
    fit: FitCost | None = None
    seconds: float | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


def solution_key(cell: Cell) -> SolutionKey:
    """The reference solution a cell is compared with."""
    return SolutionKey(cell.suite, cell.suite_revision, cell.seed, cell.samples, solution_dtype(cell.dtype))


class WrongCount(Exception):
    """A method used fewer evaluations than it was asked to, or not the same number for every batch."""


def _fitted(job: Job, suite: Suite, method: Method) -> tuple[Mapping[str, Tensor], FitCost | None]:
    """The artifact's tensors and cost.

    Raises:
        ValueError: it is not the one the cell was planned with.
    """
    cell = job.cell
    if not cell.artifact or isinstance(method, Released):  # a checkpoint is loaded by the teacher
        return {}, None
    found = artifacts.find(suite, method, parse(cell.method).name, cell.nfe, job.artifacts)
    if found is None or found.sha256 != cell.artifact:
        raise ValueError("the artifact has changed since the run was planned; run the same command again")
    meta = found.meta
    return found.tensors(), FitCost(fit_evals=meta.fit_evals, fit_images=meta.fit_images, fit_seconds=meta.fit_seconds)


def check_count(ledger: Ledger, asked: int) -> None:
    """The count is what was asked.

    Raises:
        WrongCount: it is below; above, the ledger has already raised.
    """
    if ledger.nfe != asked:
        raise WrongCount(f"asked for {asked} evaluations and counted {ledger.nfe}")


def probe(teacher: Teacher, method: Method, cell: Cell, artifact: Mapping[str, Tensor], size: int = PROBE) -> float:
    """FLOPs per sample: multiply-adds x 2 of matrix products and convolutions, by torch's counter.

    From an extra run of ``size`` samples before the timed one. Element-wise operations are not counted. A method whose
    work depends on the samples may differ a little on all of them.

    Raises:
        BudgetExceeded, WrongCount, Unsupported: as for the run itself.
    """
    counter = FlopCounterMode(display=False)
    with counter:
        _, ledger = teacher.generate(method, cell.nfe, cell.seed, range(size), artifact)
    check_count(ledger, cell.nfe)
    return float(counter.get_total_flops()) / size


def _measured(suite: Suite, metric: Metric[Any], estimate: Estimate) -> Measured:
    features = (metric.network_id() or suite.feature_id()).partition("@")[0]
    return Measured(
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        interval=estimate.interval,
        label=metric.label.replace("{features}", features),
        better=metric.better,
        detail=estimate.detail,
    )


@torch.inference_mode()
def warm_up() -> None:
    """Have torch import what its counter needs (seconds), before a cell is timed."""
    with FlopCounterMode(display=False):
        torch.ones(1, 1) @ torch.ones(1, 1)


def _generate(
    job: Job,
    teacher: Teacher,
    method: Method,
    artifact: Mapping[str, Tensor],
    score: Callable[[range, Tensor], None],
) -> tuple[int, list[str]]:
    """Generate the samples of a cell, batch by batch, and have each scored while the next one is made.

    Args:
        score: takes indices and samples (B, ...).

    Returns:
        rows through the network, and what a reader has to know of how it went.

    Raises:
        Unsupported, BudgetExceeded, WrongCount, ValueError: as ``run_quality``.
    """
    cell = job.cell
    notes: list[str] = []
    rows = 0

    def generate(index: range) -> Tensor:
        nonlocal rows
        samples, ledger = teacher.generate(method, cell.nfe, cell.seed, index, artifact)
        check_count(ledger, cell.nfe)
        rows += ledger.network_rows
        return samples

    def halved(size: int, half: int) -> None:
        notes.append(f"generating {size} samples at once ran out of GPU memory, so {half} were")

    with Behind(teacher.device) as behind:
        for index, samples in batches(range(cell.samples), job.batch, generate, halved):
            behind.submit(partial(score, index), samples)
        behind.wait()
    return rows, notes


@torch.inference_mode()
def run_quality(job: Job) -> Result:
    """Generate and score the samples of a cell.

    Raises:
        Unsupported: the method cannot do this budget.
        BudgetExceeded, WrongCount: the count is not what was asked.
        ValueError: samples are not finite or have another shape.
    """
    cell = job.cell
    teacher = loaded.teacher(cell.suite, cell.device, cell.dtype)
    use_device(teacher.device)
    suite = teacher.suite
    method: Method = registry.create("method", cell.method)
    artifact, fit = _fitted(job, suite, method)
    flops = probe(teacher, method, cell, artifact, min(PROBE, job.batch))
    scores = Scores(cell, suite)
    solution = loaded.solution(solution_key(cell), cell.device, job.reference) if scores.need_solution else None
    previews = Previews(suite)

    def score(index: range, samples: Tensor) -> None:
        previews.add(index, samples, scores.add(index, samples, solution))

    rows, notes = _generate(job, teacher, method, artifact, score)
    results = list(scores.values())
    arrays: dict[str, NDArray[Any]] = dict(previews.arrays())
    influence = results[0][2].influence if results else None  # of the first metric that has a number
    if influence is not None:
        arrays["influence"] = influence.astype(np.float32)
    return Result(
        metrics={identifier: _measured(suite, metric, estimate) for identifier, metric, estimate in results},
        missing=scores.gaps,
        notes=(*notes, *scores.notes),
        nfe=cell.nfe,
        network_evals=rows / cell.samples,
        flops=flops,
        fit=fit,
        arrays=arrays,
    )


def run_latency(job: Job) -> Result:
    """Measure the latency of a cell; alone on the machine, or the numbers mean nothing.

    Raises:
        Unsupported: the method cannot do this budget.
    """
    from bench.latency.protocol import Contender, measure_cell

    cell = job.cell
    teacher = loaded.teacher(cell.suite, cell.device, cell.dtype)
    method: Method = registry.create("method", cell.method)
    artifact, fit = _fitted(job, teacher.suite, method)
    flops = probe(teacher, method, cell, artifact, min(PROBE, job.batch))
    latency = measure_cell(cell.metrics[0], teacher, Contender(method, cell.nfe, artifact))
    notes = dict.fromkeys(f"latency, batch {each.batch}: {each.fallback}" for each in latency if each.fallback)
    return Result(latency=latency, notes=tuple(notes), nfe=cell.nfe, flops=flops, fit=fit)


def execute(job: Job) -> Result:
    """One cell; raises as ``run_quality`` and ``run_latency``."""
    start = time.perf_counter()
    result = run_latency(job) if job.cell.is_latency else run_quality(job)
    return replace(
        result,
        seconds=time.perf_counter() - start,
        environment=describe(job.cell.device, torch.get_num_threads()),
    )
