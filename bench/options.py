"""How a run is carried out; nothing here changes a number."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError, unknown
from bench.registry import Kind

ENGINES = ("workers", "inprocess")


@dataclass(frozen=True)
class Options:
    """How cells are run.

    Attributes:
        out: folder of the records.
        workers: processes; None for one per core, or a single one on a GPU.
        batch: samples generated at once; None for the suite's.
        timeout: seconds for one cell; None for an hour with workers, and for ever in this process.
        memory_limit: bytes that a worker may add to what it holds when it starts.
        engine: ``"workers"``, or ``"inprocess"`` for debugging.
        retry_failed: compute cells anew whose record is a failure.
        report: write tables and figures at the end.
        plugins: entries given by path, which workers have to register too.
    """

    out: Path
    workers: int | None = None
    batch: int | None = None
    timeout: float | None = None
    memory_limit: int | None = None
    engine: str = "workers"
    retry_failed: bool = False
    report: bool = True
    plugins: tuple[tuple[Kind, str], ...] = ()

    def check(self, device: str) -> None:
        """Refuse what cannot be honoured.

        Raises:
            UsageError: a value out of range, or an option that this engine or device cannot keep.
        """
        if self.engine not in ENGINES:
            raise unknown("engine", self.engine, ENGINES)
        for name, value in (("workers", self.workers), ("batch", self.batch), ("timeout", self.timeout)):
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"--{name} must be above 0, not {value}")
        if self.engine == "inprocess" and self.timeout is not None:
            raise UsageError("--timeout needs --engine workers: only a process of its own can be stopped")
        if self.memory_limit is None:
            return
        if self.memory_limit <= 0:
            raise UsageError(f"--memory-limit must be above 0, not {self.memory_limit}")
        if self.engine != "workers" or device != "cpu" or sys.platform != "linux":
            raise UsageError("--memory-limit needs worker processes on the CPU under Linux")
