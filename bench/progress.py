"""How far a run is and how long it will take: a bar on a terminal, plain lines in a file.

A cell's cost is taken to be ``rate * samples * (nfe + OVERHEAD)``: sampling grows with the evaluations, scoring does
not. The rate is learnt for each method from cells that have finished, earlier runs included; until a method has one,
it is the mean of the others. Latency cells, which draw no samples to score, have rates of their own in the same way;
until one has finished, each is taken to last ``LATENCY_SECONDS``.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from bench.cell import Cell
from bench.record import Record, Status

OVERHEAD = 3.0  # scoring a sample, in evaluations
LATENCY_SECONDS = 3.0


Kind = tuple[bool, str]  # whether of latency, and the method


def _kind(cell: Cell) -> Kind:
    return cell.is_latency, cell.method


def _work(cell: Cell) -> float:
    return (1 if cell.is_latency else cell.samples) * (cell.nfe + OVERHEAD)


class Estimate:
    """What is left to do, in seconds.

    Args:
        cells: to be run.
        workers: how many run at once; latency cells run alone.
    """

    def __init__(self, cells: Iterable[Cell], workers: int) -> None:
        self._left = {cell.id: cell for cell in cells}
        self._workers = workers
        self._seconds: defaultdict[Kind, float] = defaultdict(float)
        self._work: defaultdict[Kind, float] = defaultdict(float)
        self._done = 0.0

    def learn(self, record: Record) -> None:
        """Take the time of a finished cell into account; one that was not computed tells nothing."""
        if record.status is Status.OK and record.seconds is not None:
            self._seconds[_kind(record.cell)] += record.seconds
            self._work[_kind(record.cell)] += _work(record.cell)

    def finish(self, record: Record) -> None:
        """A cell of this run has ended."""
        self.learn(record)
        self._left.pop(record.id, None)
        self._done += record.seconds or 0.0

    def _cost(self, cell: Cell) -> float | None:
        kinds = [_kind(cell)]
        if not self._work[kinds[0]]:
            kinds = [kind for kind in self._work if kind[0] == cell.is_latency]
        work = sum(self._work[kind] for kind in kinds)
        if work:
            return sum(self._seconds[kind] for kind in kinds) / work * _work(cell)
        return LATENCY_SECONDS if cell.is_latency else None

    def seconds(self) -> float | None:
        """Wall clock until the end; None before anything is known."""
        total = 0.0
        for cell in self._left.values():
            cost = self._cost(cell)
            if cost is None:
                return None
            total += cost if cell.is_latency else cost / self._workers
        return total

    def share(self) -> float:
        """The share of the work that is done, 0 to 1."""
        left = [self._cost(cell) for cell in self._left.values()]
        known = sum(cost for cost in left if cost is not None)
        return self._done / (self._done + known) if None not in left and self._done + known > 0 else 0.0


def clock(seconds: float | None) -> str:
    """``"1:02:03"``, ``"2:03"`` or ``"?"``."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Display(Protocol):
    """Shows a run while it lasts."""

    def note(self, text: str) -> None:
        """Say what is going on."""
        ...

    def update(self, record: Record, done: int, estimate: Estimate) -> None:
        """A cell has ended; ``done`` have, of this run."""
        ...

    def close(self) -> None:
        """The run has ended."""
        ...


def _line(record: Record) -> str:
    cell = record.cell
    what = f"{cell.method} nfe={cell.nfe} seed={cell.seed}{' latency' if cell.is_latency else ''}"
    return what if record.status is Status.OK else f"{what}: {record.status.value}: {record.reason}"


class Lines:
    """One plain line for each cell, for files and pipes.

    Args:
        total: how many cells run.
        stream: where to write.
    """

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total = total
        self._stream = stream
        self._start = time.monotonic()

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def note(self, text: str) -> None:
        """See ``Display.note``."""
        self._write(text)

    def update(self, record: Record, done: int, estimate: Estimate) -> None:
        """See ``Display.update``."""
        spent, left = clock(time.monotonic() - self._start), clock(estimate.seconds())
        self._write(f"[{done}/{self._total} {estimate.share():4.0%} {spent} left {left}] {_line(record)}")

    def close(self) -> None:
        """Nothing to clear."""


class Bar:
    """A bar on a terminal; cells that did not end well stay above it.

    Args:
        total: how many cells run.
        console: the terminal.
    """

    def __init__(self, total: int, console: Console) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[left]}"))
        self._progress = Progress(*columns, console=console, transient=True)
        self._total = total
        self._task: TaskID = self._progress.add_task("starting", total=1.0, left="left ?")
        self._progress.start()

    def note(self, text: str) -> None:
        """See ``Display.note``."""
        self._progress.update(self._task, description=text)

    def update(self, record: Record, done: int, estimate: Estimate) -> None:
        """See ``Display.update``."""
        if record.status is not Status.OK:
            self._progress.console.print(_line(record), style="yellow", markup=False, highlight=False)
        left = f"{done}/{self._total} cells, left {clock(estimate.seconds())}"
        self._progress.update(self._task, completed=estimate.share(), description=str(record.cell.method), left=left)

    def close(self) -> None:
        """Clear the bar."""
        self._progress.stop()


def display(total: int, stream: TextIO | None = None) -> Display:
    """A bar if the stream is a terminal, else lines."""
    stream = sys.stdout if stream is None else stream
    console = Console(file=stream)
    return Bar(total, console) if console.is_terminal and not console.is_dumb_terminal else Lines(total, stream)
