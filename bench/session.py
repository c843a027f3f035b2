"""The computing part of a run: which cells are missing, on which engine each runs, and their records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from bench import environment
from bench.cell import Cell
from bench.definition import metric_spec
from bench.engine.base import Engine, Outcome, Task
from bench.engine.inprocess import InProcess
from bench.engine.worker import Setup
from bench.engine.workers import Workers
from bench.execute import Job, Result, execute, solution_key
from bench.loaded import prepare_solution
from bench.options import Options
from bench.plan import Plan
from bench.progress import Display, Estimate
from bench.record import FAILURES, Record
from bench.request import Request
from bench.store import Store, read_records

TIMEOUT = 3600.0  # seconds for one cell, unless the user says otherwise
SOLUTION_TIMEOUT = 6 * 3600.0  # seconds for one reference solution, which is our own code


class Session:
    """One run of a plan into an open store."""

    def __init__(self, plan: Plan, request: Request, options: Options, store: Store) -> None:
        self.plan, self.request, self.options, self.store = plan, request, options, store
        self.records = {
            cell_id: record
            for cell_id, record in read_records(store.out).items()
            if cell_id in {planned.cell.id for planned in plan.cells}
        }
        self.todo = [planned for planned in plan.cells if self._is_missing(planned.cell)]
        failures = sum(record.status in FAILURES for record in self.records.values())
        self.kept = 0 if options.retry_failed else failures
        cores = environment.cores()
        self.workers = options.workers or (cores if request.device == "cpu" else 1)
        self.threads = max(1, cores // self.workers)
        self.estimate = Estimate([planned.cell for planned in self.todo if planned.verdict is None], self.workers)
        self.done = 0

    def _is_missing(self, cell: Cell) -> bool:
        record = self.records.get(cell.id)
        if record is None or record.missing.keys() - self.plan.gaps.keys():  # what was missing has come
            return True
        return self.options.retry_failed and record.status in FAILURES

    def compute(self, shown: Display) -> None:
        """Give every missing cell its record."""
        for identifier, sentence in self.plan.gaps.items():
            shown.note(f"no {metric_spec(identifier)}: {sentence}")
        for record in self.records.values():
            self.estimate.learn(record)
        for planned in self.todo:
            if planned.verdict is not None:
                status, reason = planned.verdict
                self._save(planned.cell, Outcome(planned.cell.id, status, None, reason), shown)
        cells = [planned.cell for planned in self.todo if planned.verdict is None]
        quality = [cell for cell in cells if not cell.is_latency]
        latency = [cell for cell in cells if cell.is_latency]
        if quality:
            with self._engine(self.workers, self.threads) as engine:
                self._solutions(quality, engine, shown)
                self._cells(quality, engine, shown)
        if latency:
            shown.note("measuring latency, one cell at a time")
            with self._engine(1, self.request.latency_threads) as engine:
                self._cells(latency, engine, shown)

    @contextlib.contextmanager
    def _engine(self, workers: int, threads: int) -> Iterator[Engine]:
        self.threads = threads
        engine: Engine = InProcess()
        if self.options.engine == "workers":
            setup = Setup(
                threads=threads,
                scratch=self.store.scratch,
                preload=("bench.execute:warm_up",),
                plugins=self.options.plugins,
                memory_limit=self.options.memory_limit,
            )
            engine = Workers(workers, setup)
        try:
            yield engine
        finally:
            engine.close()

    def _timeout(self, default: float) -> float | None:
        if self.options.engine != "workers":
            return None
        return default if self.options.timeout is None else self.options.timeout

    def _solutions(self, cells: Sequence[Cell], engine: Engine, shown: Display) -> None:
        """Compute the reference solutions that are needed, one worker for each, before the cells ask for them.

        A failure here is no verdict: the cells that need the solution will meet it themselves.
        """
        if not self.plan.needs_solution:
            return
        keys = {key for key in map(solution_key, cells) if not key.path(self.store.reference).exists()}
        if keys:
            shown.note(f"reference solutions: {len(keys)}")
        tasks = [
            Task(
                key=str(key),
                call=prepare_solution,
                args=(key, self.request.device, self.store.reference),
                timeout=None if self.options.engine != "workers" else SOLUTION_TIMEOUT,
            )
            for key in sorted(keys, key=lambda key: key.seed)
        ]
        for _ in engine.run(tasks):
            pass

    def _cells(self, cells: Iterable[Cell], engine: Engine, shown: Display) -> None:
        by_id = {cell.id: cell for cell in cells}
        batch = self.options.batch or self.plan.suite.batch
        tasks = [
            Task(
                key=cell.id,
                call=execute,
                args=(Job(cell, batch, self.request.artifacts, self.store.reference),),
                timeout=self._timeout(TIMEOUT),
            )
            for cell in by_id.values()
        ]
        for outcome in engine.run(tasks):
            self._save(by_id[outcome.key], outcome, shown)

    def _save(self, cell: Cell, outcome: Outcome, shown: Display) -> None:
        result = outcome.value if isinstance(outcome.value, Result) else Result()
        record = Record(
            id=cell.id,
            cell=cell,
            status=outcome.status,
            reason=outcome.reason,
            stderr=outcome.stderr,
            metrics=result.metrics,
            missing=result.missing,
            notes=result.notes,
            latency=result.latency,
            nfe=result.nfe,
            network_evals=result.network_evals,
            flops=result.flops,
            fit=result.fit,
            seconds=result.seconds if result.seconds is not None else outcome.seconds,
            environment=result.environment or environment.describe(cell.device, self.threads),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.store.save(record, result.arrays)
        self.records[cell.id] = record
        self.done += 1
        self.estimate.finish(record)
        shown.update(record, self.done, self.estimate)
