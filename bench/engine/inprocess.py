"""The engine for debugging and tests: every task in this process, one after the other.

Nothing is isolated here: a task that kills the process ends the run, and a time-out cannot be honoured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.engine.base import Outcome, Task, attempt
from bench.errors import UsageError


class InProcess:
    """Calls tasks one by one."""

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See ``Engine.run``.

        Raises:
            UsageError: a task has a time-out, which only a process of its own can keep.
        """
        for task in tasks:
            if task.timeout is not None:
                raise UsageError("the in-process engine cannot stop a cell after a time-out; use --engine workers")
            yield attempt(task)

    def close(self) -> None:
        """Nothing to stop."""
