"""kill -9 of the parent at twenty random moments: every cell ends as one record, and nothing is computed twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.store import Store, read_records

CELLS = 40
KILLS = 20
WORKERS = 2
PATIENCE = 240.0  # seconds for a run to reach the moment at which it is killed

# forks a run from a process that has imported everything: the time goes into the run, not into importing torch
LAUNCHER = """
import json, os, sys
import bench.runner
from bench.cli.main import main
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        os._exit(main(json.loads(line)))
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Launcher:
    """Starts runs, one at a time."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", LAUNCHER], stdin=pipe, stdout=pipe, text=True)

    def start(self, arguments: list[str]) -> int:
        """The process id of a new run."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        return self._number()

    def code(self) -> int:
        """Wait for the run and return its exit code."""
        return self._number()

    def _number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    started = Launcher()
    yield started
    started.process.communicate(timeout=60)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def executions(log: Path) -> list[str]:
    """The budgets of all cells that were started, in order."""
    return log.read_text(encoding="utf-8").split() if log.exists() else []


def wait(pid: int, reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while is_alive(pid) and not reached() and time.monotonic() < deadline:
        time.sleep(0.02)


def settled(log: Path) -> list[str]:
    """All executions, once the workers of a killed parent are gone."""
    time.sleep(0.2)
    before = executions(log)
    time.sleep(0.5)  # longer than one call of the method
    assert executions(log) == before, "a worker outlives its parent"
    return before


@pytest.mark.slow
def test_killing_the_parent_costs_only_what_is_in_flight(
    launcher: Launcher, command: Callable[..., list[str]], tmp_path: Path
) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    python_m_bench = 3
    line = command(f"faulty[seconds=0.2,log={log}]", f"1-{CELLS}", "--workers", str(WORKERS))[python_m_bench:]
    moments = random.Random(0)
    interrupted = 0
    for kill in range(KILLS):
        done, ran = read_records(out), len(executions(log))
        pid = launcher.start(line)

        def has_started(ran: int = ran) -> bool:
            return len(executions(log)) > ran

        def has_finished_one(done: int = len(done)) -> bool:
            return len(list((out / "records").glob("[!.]*.json"))) > done

        # a third of the kills while the run starts, a third while cells run, a third while records are written
        wait(pid, (lambda: True, has_started, has_finished_one)[kill % 3])
        time.sleep(moments.uniform(0.0, 0.8))
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)
        interrupted += launcher.code() == -signal.SIGKILL
        executed = Counter(settled(log)[ran:])
        recorded = {str(record.cell.nfe) for record in done.values()}
        assert max(executed.values(), default=1) == 1, "computed twice in one run"
        assert not recorded & set(executed), "a cell that had its record was computed again"
        assert len(read_records(out)) >= len(done) + len(executed) - WORKERS, "more than the cells in flight were lost"
    assert interrupted >= KILLS // 2, "the kills came too late to mean anything"
    launcher.start(line)
    assert launcher.code() == 0
    assert sorted(record.cell.nfe for record in read_records(out).values()) == list(range(1, CELLS + 1))
    with Store(out):
        assert not list((out / "records").glob(".*"))
