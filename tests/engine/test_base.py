"""How exceptions become statuses, and the engine without isolation."""

from __future__ import annotations

import operator

import pytest
import torch

from bench.api import Unsupported
from bench.engine.base import Task, attempt, classify
from bench.engine.inprocess import InProcess
from bench.errors import UsageError
from bench.nfe import BudgetExceeded
from bench.record import Status
from bench.registry import InvalidEntry

CASES = (
    (Unsupported("only odd budgets"), Status.UNSUPPORTED, "only odd budgets"),
    (InvalidEntry("broken"), Status.INVALID, "broken"),
    (BudgetExceeded("one more"), Status.FAILED, "BudgetExceeded: one more"),
    (ValueError("two\nlines"), Status.FAILED, "ValueError: two lines"),
    (KeyError(), Status.FAILED, "KeyError"),
    (MemoryError(), Status.OOM, "out of memory (MemoryError)"),
    (torch.OutOfMemoryError("CUDA out of memory"), Status.OOM, "out of memory (OutOfMemoryError: CUDA out of memory)"),
    (RuntimeError("out of ideas"), Status.FAILED, "RuntimeError: out of ideas"),
    (ValueError("not enough memory in the text"), Status.FAILED, "ValueError: not enough memory in the text"),
)


@pytest.mark.parametrize(("error", "status", "reason"), CASES)
def test_classify(error: Exception, status: Status, reason: str) -> None:
    assert classify(error) == (status, reason)


def test_a_failure_keeps_its_trace() -> None:
    outcome = attempt(Task("k", operator.truediv, (1, 0)))
    assert outcome.status is Status.FAILED
    assert "ZeroDivisionError" in outcome.stderr
    assert outcome.seconds is not None and outcome.seconds >= 0


def test_the_users_interruption_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        attempt(Task("k", exec, ("raise KeyboardInterrupt",)))


def test_in_process_is_lazy_and_in_order() -> None:
    log: list[int] = []
    running = InProcess().run(Task(str(i), log.append, (i,)) for i in range(3))
    assert next(running).key == "0"
    assert log == [0]
    assert [outcome.key for outcome in running] == ["1", "2"]


def test_in_process_refuses_what_it_cannot_keep() -> None:
    with pytest.raises(UsageError, match="time-out"):
        list(InProcess().run([Task("k", operator.add, (1, 2), 5.0)]))
