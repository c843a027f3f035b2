"""Scoring: from batches of samples to the numbers of a cell.

::

    samples --describe--> Batch --+= statistics--> ... --value against the reference--> Estimate

Nothing is kept but the statistics. On a GPU one batch is described and scored while the next one is being generated:
in a thread of its own, on a stream of its own. A metric whose weights are missing, or whose tool fails, is a stated
gap; the other metrics of the cell have their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bench import loaded, registry
from bench.batch import Batch
from bench.cell import Cell
from bench.definition import check_size, gap, metric_spec
from bench.errors import BenchError
from bench.features.base import exactly
from bench.loaded import Solution
from bench.metrics.base import Estimate, Metric
from bench.shrink import batches
from bench.suites.base import Suite


class Scores:
    """Running sums of all metrics of a cell.

    Attributes:
        gaps: why a metric has no number, by its id.
        notes: what happened on the way, such as a batch that was halved.
    """

    def __init__(self, cell: Cell, suite: Suite) -> None:
        self.cell, self.suite = cell, suite
        self.gaps: dict[str, str] = {}
        self.notes: list[str] = []
        self.metrics: dict[str, Metric[Any]] = {}
        self._sums: dict[str, Any] = {}
        for identifier in cell.metrics:
            metric: Metric[Any] = registry.create("metric", metric_spec(identifier))
            sentence = gap(suite, metric)
            if sentence:
                self.gaps[identifier] = sentence
            else:
                self.metrics[identifier] = metric

    @property
    def need_solution(self) -> bool:
        """Whether a metric compares with the teacher's reference solution."""
        return any(metric.needs_solution for metric in self.metrics.values())

    def add(self, index: range, samples: Tensor, solution: Solution | None) -> Batch:
        """Describe and score the samples with these indices; the first part of what was described."""

        def score(part: range) -> Batch:
            rows = slice(part.start - index.start, part.stop - index.start)
            batch = self.suite.describe(samples[rows], self.suite.label(part))
            if solution is not None:
                batch = self._with_solution(batch, solution.rows(part.start, part.stop))
            self._add(batch)
            return batch

        parts = [batch for _, batch in batches(index, len(index), score, self._halved)]
        return parts[0]

    def _with_solution(self, batch: Batch, solution: Tensor) -> Batch:
        pictures = None
        if any(metric.needs_solution_images for metric in self.metrics.values()):
            assert batch.label is not None  # what was described has been told its labels
            pictures = self.suite.describe(solution.to(batch.samples.dtype), batch.label).images
        return replace(batch, solution=solution, solution_images=pictures)

    def _add(self, batch: Batch) -> None:
        found: dict[str, Any] = {}
        for identifier, metric in list(self.metrics.items()):
            try:
                check_size(self.suite, metric, batch)
                found[identifier] = metric.statistics(batch)
            except BenchError as error:
                self._give_up(identifier, error)
        for identifier, new in found.items():  # only now: a batch that runs out of memory comes again in halves
            self._sums[identifier] = self._sums[identifier] + new if identifier in self._sums else new

    def _halved(self, size: int, half: int) -> None:
        self.notes.append(f"scoring {size} samples at once ran out of GPU memory, so {half} were")

    def _give_up(self, identifier: str, error: BenchError) -> None:
        self.gaps[identifier] = str(error)
        del self.metrics[identifier]

    def values(self) -> Iterator[tuple[str, Metric[Any], Estimate]]:
        """Id, metric and number of each metric that has one; the others are in ``gaps`` afterwards."""
        for identifier, metric in list(self.metrics.items()):
            try:
                reference = loaded.reference_statistics(self.cell.suite, metric_spec(identifier))
                yield identifier, metric, metric.value(self._sums[identifier], reference)
            except BenchError as error:
                self._give_up(identifier, error)


class Behind:
    """One call at a time behind the caller's back on a GPU; at once elsewhere, where it would only compete.

    The switches of cuDNN are the process's, and feature networks want full float32. So it holds for the caller too
    while this is open: otherwise its samples would depend on what happens to be scored meanwhile.

    Args:
        device: where the caller computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = ThreadPoolExecutor(1) if device.type == "cuda" else None
        new_stream: Callable[..., torch.cuda.Stream] = torch.cuda.Stream
        self._stream = new_stream(device) if device.type == "cuda" else None
        self._pending: Future[None] | None = None
        self._open = ExitStack()

    def __enter__(self) -> Behind:
        if self._pool is not None:
            self._open.enter_context(exactly(self._device))
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._open.close()

    def submit(self, call: Callable[[Tensor], None], samples: Tensor) -> None:
        """Wait for the last call, then start this one on samples that the caller's stream may still be computing."""
        self.wait()
        if self._pool is None or self._stream is None:
            call(samples)
            return
        new_event: Callable[[], torch.cuda.Event] = torch.cuda.Event
        ready = new_event()
        ready.record(torch.cuda.current_stream(self._device))
        samples.record_stream(self._stream)  # its memory is not given away before this stream is done with it
        self._pending = self._pool.submit(self._run, self._stream, ready, call, samples)

    @staticmethod
    @torch.inference_mode()  # a thread has its own mode
    def _run(
        stream: torch.cuda.Stream, ready: torch.cuda.Event, call: Callable[[Tensor], None], samples: Tensor
    ) -> None:
        with torch.cuda.stream(stream):
            stream.wait_event(ready)
            call(samples)
            stream.synchronize()

    def wait(self) -> None:
        """Wait for the last call; what it raised is raised here."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
