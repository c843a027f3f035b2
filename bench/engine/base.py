"""What an engine is: tasks in, outcomes out, as they finish; and how an exception becomes a status.

::

    runner --Task--> engine --(same process | worker | another machine)--> attempt(task) --Outcome--> runner

An engine knows nothing of cells. It takes the next task only when the consumer asks for the next outcome, so what the
consumer does with an outcome (write a record) is done before the worker that produced it starts anything new. An engine
for more than one machine (Ray) is a class with these two methods that ships ``attempt``.
"""

from __future__ import annotations

import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from bench.record import Status
from bench.registry import InvalidEntry

STDERR_TAIL = 4000  # characters kept of what a failed task wrote to stderr
_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|bad_alloc|out of memory|memory allocation.*failed",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Task:
    """One call, in whatever process.

    Attributes:
        key: unique among the tasks of one run.
        call: a function of a module, which another process can import.
        args: what can be sent to another process.
        timeout: seconds from the start of the call; None waits for ever.
    """

    key: str
    call: Callable[..., Any]
    args: tuple[Any, ...] = ()
    timeout: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        value: what the call returned, if the status is ok.
        reason: why it is not, one sentence.
        stderr: tail of what was written to stderr, for failures.
        seconds: wall clock of the call.
    """

    key: str
    status: Status
    value: Any = None
    reason: str = ""
    stderr: str = ""
    seconds: float | None = None


class Engine(Protocol):
    """Runs tasks."""

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """One outcome for each task, in the order in which they finish."""
        ...

    def close(self) -> None:
        """Stop what still runs and free everything; may be called at any time and more than once."""
        ...


def mentions_memory(text: str) -> bool:
    """Whether an error message says that memory ran out."""
    return _OUT_OF_MEMORY.search(text) is not None


def classify(error: BaseException) -> tuple[Status, str]:
    """The status and the one-line reason of an exception."""
    message = " ".join(str(error).split())
    api = sys.modules.get("bench.api")  # what is not imported raises nothing, and a worker's start stays light
    if api is not None and isinstance(error, api.Unsupported):
        return Status.UNSUPPORTED, message
    if isinstance(error, InvalidEntry):
        return Status.INVALID, message
    reason = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and mentions_memory(message)):
        return Status.OOM, f"out of memory ({reason})"
    return Status.FAILED, reason


def attempt(task: Task) -> Outcome:
    """Call the task; whatever it raises becomes its outcome, except the user's own interruption."""
    start = time.perf_counter()
    try:
        value = task.call(*task.args)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plug-in may raise anything, SystemExit included
        status, reason = classify(error)
        trace = "" if status is Status.UNSUPPORTED else "".join(traceback.format_exception(error))
        return Outcome(task.key, status, None, reason, trace[-STDERR_TAIL:], time.perf_counter() - start)
    return Outcome(task.key, Status.OK, value, seconds=time.perf_counter() - start)
