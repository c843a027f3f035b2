"""Latency of all that a request names, in this process: groups of cells take turns, each ends as one record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import torch

from bench import artifacts, loaded, registry
from bench.cell import Cell
from bench.engine.base import classify
from bench.errors import BenchError, UsageError
from bench.latency.identity import V1, Settings, protocol_id, settings_for
from bench.latency.protocol import Contender, Run, default_budget, measure_group
from bench.latency.timing import Budget
from bench.plan import Plan, Planned, make_plan
from bench.record import Record, Status
from bench.released.method import Released
from bench.request import Request
from bench.sampling import Teacher
from bench.spec import Spec, parse

SIZES = (("resolution",), ("height", "width"), ("size",))
"""Fields by which suites say how large a picture is, in pixels."""


@dataclass(frozen=True)
class Wanted:
    """How to measure.

    Attributes:
        batches: batch sizes; the suite's own if None.
        mode: one of ``bench.latency.modes.MODES``.
        seconds: of steady runs per batch size; the protocol's own if None.
        rounds: how often methods take turns.
        group: how many methods take turns.
    """

    batches: tuple[int, ...] | None = None
    mode: str = "eager"
    seconds: float | None = None
    rounds: int = 3
    group: int = 16


def at_resolutions(request: Request, sizes: Sequence[int]) -> list[Request]:
    """The request once for each size, or as it is if there are none.

    Raises:
        UsageError: the suite has no choice of size.
    """
    if not sizes:
        return [request]
    spec = parse(request.suite)
    fields = registry.load("suite", spec.name).model_fields
    names = next((names for names in SIZES if all(name in fields for name in names)), None)
    if names is None:
        raise UsageError(f"suite {spec.name} has one size only; leave out --resolutions")
    kept = tuple(pair for pair in spec.params if pair[0] not in names)
    return [
        replace(request, suite=str(Spec(spec.name, (*kept, *((name, str(size)) for name in names))))) for size in sizes
    ]


def measure_all(requests: Sequence[Request], wanted: Wanted, tell: Callable[[str], None]) -> list[Record]:
    """One record per method, budget of evaluations and size.

    Args:
        requests: what is measured; all on one device.
        wanted: how.
        tell: is told what comes next.

    Raises:
        UsageError, DeviceError, AssetError: as ``bench.plan.make_plan``; before anything is measured.
    """
    plans = [(request, make_plan(request)) for request in requests]
    chosen = [settings_for(plan.suite, request.device, wanted.batches, wanted.mode) for request, plan in plans]
    records: list[Record] = []
    for (request, plan), how in zip(plans, chosen, strict=True):
        records += _Measurement(request, plan, how, wanted, tell, is_first=not records).records()
    return records


@dataclass
class _Measurement:
    """One suite at one size.

    Attributes:
        is_first: whether nothing has been measured in this process.
    """

    request: Request
    plan: Plan
    how: Settings
    wanted: Wanted
    tell: Callable[[str], None]
    is_first: bool

    def records(self) -> list[Record]:
        """All cells, in the order of the plan; a network that does not load is the fate of all of them.

        Raises:
            BenchError: the network does not load, and nothing has been measured that would be lost.
        """
        request, how = self.request, self.how
        torch.set_num_threads(request.latency_threads)
        protocol = protocol_id(request.device, request.dtype, how.batches, None, self.plan.suite, how.mode)
        cells = [planned for planned in self.plan.cells if planned.cell.is_latency]
        start = time.perf_counter()
        try:
            teacher = loaded.teacher(self.plan.spec, request.device, request.dtype)
        except Exception as error:  # a size that does not fit costs no other
            if self.is_first and isinstance(error, BenchError):
                raise
            return [_empty(_renamed(planned, protocol), *classify(error)) for planned in cells]
        seconds = time.perf_counter() - start if self.is_first else None
        found: dict[str, Record] = {}
        prepared = self._prepared(cells, protocol, teacher, found)
        size = 1 if how.version == V1 else self.wanted.group
        while some := list(islice(prepared, size)):
            runs = measure_group(
                teacher, [contender for _, contender in some], how, self._budget(teacher), self.wanted.rounds, seconds
            )
            seconds = None
            for (cell, _), run in zip(some, runs, strict=True):
                found[cell.id] = _record(cell, run)
        return [found[_renamed(planned, protocol).id] for planned in cells]

    def _budget(self, teacher: Teacher) -> Budget:
        budget = default_budget(self.how.version, teacher.device)
        return budget if self.wanted.seconds is None else replace(budget, seconds=self.wanted.seconds)

    def _prepared(
        self, cells: Sequence[Planned], protocol: str, teacher: Teacher, found: dict[str, Record]
    ) -> Iterator[tuple[Cell, Contender]]:
        """What can be measured; the others get their records."""
        for number, planned in enumerate(cells, start=1):
            cell = _renamed(planned, protocol)
            self.tell(f"[{number}/{len(cells)}] {cell.method} nfe={cell.nfe}")
            if planned.verdict is not None:
                found[cell.id] = _empty(cell, *planned.verdict)
                continue
            try:
                yield cell, _contender(cell, teacher)
            except Exception as error:  # a method may raise anything
                found[cell.id] = _empty(cell, *classify(error))


def _renamed(planned: Planned, protocol: str) -> Cell:
    return Cell.model_validate(planned.cell.model_dump() | {"metrics": (protocol,)})  # a copy would keep the old id


def _contender(cell: Cell, teacher: Teacher) -> Contender:
    method = registry.create("method", cell.method)
    fitted = cell.artifact and not isinstance(method, Released)
    found = artifacts.find(teacher.suite, method, parse(cell.method).name, cell.nfe) if fitted else None
    return Contender(method, cell.nfe, found.tensors() if found else {})


def _fields(cell: Cell) -> dict[str, Any]:
    return {"id": cell.id, "cell": cell, "created": datetime.now(UTC).isoformat(timespec="seconds")}


def _empty(cell: Cell, status: Status, reason: str) -> Record:
    return Record(status=status, reason=reason, **_fields(cell))


def _record(cell: Cell, run: Run) -> Record:
    """What was measured before an error stands in the record as well."""
    if run.error is None:
        return Record(status=Status.OK, latency=run.latency, nfe=cell.nfe, **_fields(cell))
    status, reason = classify(run.error)
    where = f"batch {run.batch}: " if run.latency else ""
    return Record(status=status, reason=where + reason, latency=run.latency, nfe=cell.nfe, **_fields(cell))
