"""Worker processes: each keeps what it has loaded, and its death costs the task it was working on and nothing else.

Every worker has a pipe of its own, so that a worker that dies in the middle of anything cannot leave a shared lock
behind. A pool that shares one was looked at first: pebble 5.2.3 takes a worker that ends with exit code 0 in the middle
of a task for one that had nothing to do, and gives up the whole pool when an idle worker is killed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from multiprocessing.connection import wait

from bench.engine.base import STDERR_TAIL, Outcome, Task
from bench.engine.handle import Worker
from bench.engine.worker import Setup
from bench.errors import BenchError
from bench.record import Status

START_ATTEMPTS = 3


class Workers:
    """The engine of worker processes.

    Args:
        count: how many processes.
        setup: what each is given.
    """

    def __init__(self, count: int, setup: Setup) -> None:
        self.count = count
        self.setup = setup
        self._pool: list[Worker] = []
        self._queue: deque[Task] = deque()
        self._started = 0
        self._lost = 0  # workers that died, one after the other, before they were ready

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See ``Engine.run``.

        Raises:
            BenchError: worker processes cannot be started.
        """
        self._queue = deque(tasks)
        while self._queue or any(worker.task for worker in self._pool):
            self._feed()
            self._grow()
            yield from self._collect()

    def close(self) -> None:
        """See ``Engine.close``."""
        while self._pool:
            self._pool.pop().stop()

    def _feed(self) -> None:
        """Give the workers that idle something to do; one that has died while idle is dropped."""
        for worker in [worker for worker in self._pool if worker.idle]:
            if self._queue and worker.assign(self._queue[0]):
                self._queue.popleft()
            elif self._queue:
                self._pool.remove(worker)
                worker.stop()

    def _grow(self) -> None:
        """Start as many workers as are allowed and have something to do."""
        starting = sum(not worker.ready for worker in self._pool)
        for _ in range(min(self.count - len(self._pool), len(self._queue) - starting)):
            self._started += 1
            self._pool.append(Worker(self.setup, self._started))

    def _collect(self) -> Iterator[Outcome]:
        """Wait until something happens, then the outcomes that are there."""
        active = [worker for worker in self._pool if not worker.idle]
        deadlines = [worker.deadline for worker in active if worker.deadline is not None]
        patience = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        events = set(wait([source for worker in active for source in (worker.pipe, worker.process.sentinel)], patience))
        for worker in active:
            outcome = None
            if worker.pipe in events or worker.process.sentinel in events:
                outcome = self._message(worker)
            elif worker.deadline is not None and time.monotonic() >= worker.deadline:
                outcome = self._lose(worker, late=True)
            if outcome is not None:
                yield outcome

    def _message(self, worker: Worker) -> Outcome | None:
        """What a worker has sent, or what its death means."""
        message = worker.receive()
        if message is None:
            return self._lose(worker, late=False)
        worker.deadline = None
        if not isinstance(message, Outcome):
            worker.ready, self._lost = True, 0
            return None
        worker.task = None
        if message.status in (Status.OK, Status.UNSUPPORTED):
            return message
        return replace(message, stderr=f"{worker.stderr()}\n{message.stderr}".strip()[-STDERR_TAIL:])

    def _lose(self, worker: Worker, late: bool) -> Outcome | None:
        """The outcome of the task a worker died of, if it had one."""
        self._pool.remove(worker)
        if worker.task is not None:
            return worker.timed_out(worker.task) if late else worker.crashed(worker.task)
        last_words = (worker.stderr().splitlines() or ["no message"])[-1]
        worker.stop()
        self._lost += 1
        if self._lost >= START_ATTEMPTS:
            raise BenchError(f"worker processes cannot be started: {last_words}")
        return None
