"""A worker process as its parent sees it: what it works on, since when, and what its death means."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from pathlib import Path

from bench.engine.base import STDERR_TAIL, Outcome, Task, mentions_memory
from bench.engine.worker import Setup, serve
from bench.record import Status

START_TIMEOUT = 300.0  # seconds until a worker is set up, importing torch included
GRACE = 5.0  # seconds a worker that has hung up may take to end
_SPAWN = multiprocessing.get_context("spawn")


def oom_kills() -> int:
    """How often the kernel has killed a process for memory: in the control group and on the machine."""
    total = 0
    for path in ("/sys/fs/cgroup/memory.events", "/proc/vmstat"):
        with contextlib.suppress(OSError, ValueError):
            lines = Path(path).read_text(encoding="ascii").splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return total


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"the worker was killed by {signal.Signals(-code).name}"
    return f"the worker exited with code {code}"


class Worker:
    """One process, from the parent's side.

    Attributes:
        task: what it is working on; None while it starts or idles.
        ready: whether its setup is done.
    """

    def __init__(self, setup: Setup, number: int) -> None:
        self.log = setup.scratch / f"worker-{number}.log"
        self.log.write_bytes(b"")
        self.pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=serve, args=(theirs, os.getpid(), setup, self.log), daemon=True)
        self.process.start()
        theirs.close()
        self.task: Task | None = None
        self.ready = False
        self._begin(START_TIMEOUT)

    def _begin(self, timeout: float | None) -> None:
        self.start = time.monotonic()
        self.deadline = None if timeout is None else self.start + timeout
        self.offset = self.log.stat().st_size
        self.kills = oom_kills()

    @property
    def idle(self) -> bool:
        """Set up, and without a task."""
        return self.ready and self.task is None

    def assign(self, task: Task) -> bool:
        """Give it a task; False if it has died while idle."""
        self._begin(task.timeout)
        try:
            self.pipe.send(task)
        except OSError:
            return False
        self.task = task
        return True

    def stderr(self) -> str:
        """The tail of what the current task wrote."""
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self.offset, size - 4 * STDERR_TAIL))
            return file.read().decode("utf-8", "replace").strip()[-STDERR_TAIL:]

    def stop(self) -> None:
        """Kill it, whatever it does, and wait until it is gone."""
        self.process.kill()
        self.process.join()
        self.pipe.close()
        self.log.unlink(missing_ok=True)

    def timed_out(self, task: Task) -> Outcome:
        """The outcome of a task that took too long; the worker is gone afterwards."""
        reason = f"took longer than the time-out of {task.timeout:g} s"
        outcome = Outcome(task.key, Status.TIMEOUT, None, reason, self.stderr(), time.monotonic() - self.start)
        self.stop()
        return outcome

    def crashed(self, task: Task) -> Outcome:
        """The outcome of a task whose worker has died."""
        self.process.join(GRACE)
        code, stderr, seconds = self.process.exitcode, self.stderr(), time.monotonic() - self.start
        status, reason = Status.CRASHED, _cause(code)
        by_kernel = code == -signal.SIGKILL and oom_kills() > self.kills
        if by_kernel or (code != 0 and mentions_memory(stderr)):
            status, reason = Status.OOM, f"out of memory ({reason})"
        self.stop()
        return Outcome(task.key, status, None, reason, stderr, seconds)

    def receive(self) -> object | None:
        """The message that is there; None if the worker is gone.

        Called when the pipe or the process has something to say, so an empty pipe means death. It is asked for first: a
        child of the worker may hold the other end open.
        """
        try:
            return self.pipe.recv() if self.pipe.poll(0) else None
        except (EOFError, OSError):
            return None
