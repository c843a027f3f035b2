"""Worker processes: whatever a task does, its own outcome says so and every other task is done."""

from __future__ import annotations

import operator
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.engine.base import Outcome, Task
from bench.engine.worker import Setup
from bench.engine.workers import Workers
from bench.errors import BenchError
from bench.record import Status


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(threads=1, scratch=tmp_path)


@pytest.fixture
def engine(setup: Setup) -> Iterator[Workers]:
    workers = Workers(1, setup)
    yield workers
    workers.close()


def script(key: str, code: str, timeout: float | None = None) -> Task:
    """A task that runs a line of Python."""
    return Task(key, exec, (code,), timeout)


def outcomes(engine: Workers, *tasks: Task) -> dict[str, Outcome]:
    found = list(engine.run(tasks))
    assert len(found) == len(tasks)
    return {outcome.key: outcome for outcome in found}


FATAL = {
    "code": ("import os; os._exit(3)", Status.CRASHED, "exited with code 3"),
    "zero": ("import os; os._exit(0)", Status.CRASHED, "exited with code 0"),
    "abort": ("import os; os.abort()", Status.CRASHED, "SIGABRT"),
    "segv": ("import ctypes; ctypes.string_at(0)", Status.CRASHED, "SIGSEGV"),
    "kill": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", Status.CRASHED, "SIGKILL"),
    "exit": ("raise SystemExit(4)", Status.FAILED, "SystemExit: 4"),
    "raise": ("raise RuntimeError('on purpose')", Status.FAILED, "RuntimeError: on purpose"),
    "memory": ("raise MemoryError", Status.OOM, "out of memory (MemoryError)"),
    "torch": ("raise RuntimeError('DefaultCPUAllocator: not enough memory')", Status.OOM, "out of memory (Runtime"),
    "terminate": (
        "import os; os.write(2, b'terminate called after throwing an instance of std::bad_alloc'); os.abort()",
        Status.OOM,
        "SIGABRT",
    ),
}


def test_each_death_costs_its_own_task_only(engine: Workers) -> None:
    tasks = []
    for name, (code, _, _) in FATAL.items():
        tasks.append(script(name, f"import os; os.write(2, b'<{name}>'); {code}"))
        tasks.append(Task(f"after {name}", operator.add, (1, 2)))
    found = outcomes(engine, *tasks)
    for name, (_, status, reason) in FATAL.items():
        assert (found[name].status, reason in found[name].reason) == (status, True), found[name]
        assert f"<{name}>" in found[name].stderr
        others = [other for other in FATAL if other != name]
        assert not any(f"<{other}>" in found[name].stderr for other in others), "a tail of another task"
        assert (found[f"after {name}"].status, found[f"after {name}"].value) == (Status.OK, 3)


def test_a_hanging_task_is_stopped(engine: Workers) -> None:
    start = time.monotonic()
    hang = script("hang", "import time; time.sleep(600)", 1.0)
    found = outcomes(engine, hang, Task("next", operator.add, (1, 2), 60.0))
    assert found["hang"].status is Status.TIMEOUT
    assert "1 s" in found["hang"].reason
    assert found["next"].value == 3
    assert time.monotonic() - start < 120


def test_a_task_deaf_to_sigterm_is_stopped(engine: Workers) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    assert outcomes(engine, script("deaf", deaf, 1.0))["deaf"].status is Status.TIMEOUT


def test_the_limit_on_memory(setup: Setup) -> None:
    engine = Workers(1, Setup(threads=1, scratch=setup.scratch, memory_limit=2**29))
    found = outcomes(engine, script("big", "bytearray(2**32)"), script("small", "bytearray(2**20)"))
    engine.close()
    assert {key: outcome.status for key, outcome in found.items()} == {"big": Status.OOM, "small": Status.OK}


def test_a_worker_killed_while_idle_costs_nothing(engine: Workers) -> None:
    assert outcomes(engine, Task("a", operator.add, (1, 2)))["a"].value == 3
    process = engine._pool[0].process
    process.kill()
    process.join()
    assert outcomes(engine, Task("b", operator.add, (2, 2)))["b"].value == 4


def test_workers_are_kept_between_tasks_and_runs(engine: Workers) -> None:
    first = outcomes(engine, Task("a", os.getpid), Task("b", os.getpid))
    second = outcomes(engine, Task("c", os.getpid))
    assert len({first["a"].value, first["b"].value, second["c"].value} - {os.getpid()}) == 1


def test_a_worker_starts_nothing_new_before_its_outcome_was_consumed(engine: Workers, tmp_path: Path) -> None:
    tasks = [script(str(i), f"open({str(tmp_path / f'ran{i}')!r}, 'w').close()") for i in range(3)]
    for done, outcome in enumerate(engine.run(tasks), 1):
        time.sleep(0.3)  # what the consumer does meanwhile
        assert outcome.status is Status.OK
        assert len(list(tmp_path.glob("ran*"))) == done


def test_threads_are_set_before_torch_is_there(engine: Workers) -> None:
    code = "import os, torch; assert (torch.get_num_threads(), os.environ['OPENBLAS_NUM_THREADS']) == (1, '1')"
    assert outcomes(engine, script("threads", code))["threads"].status is Status.OK


def test_what_a_task_prints_stays_out_of_the_terminal(engine: Workers, capfd: pytest.CaptureFixture[str]) -> None:
    outcomes(engine, script("loud", "import os; os.write(1, b'loud'); os.write(2, b'loud')"))
    assert capfd.readouterr() == ("", "")


def test_workers_that_cannot_start_are_one_sentence(setup: Setup) -> None:
    engine = Workers(1, Setup(threads=1, scratch=setup.scratch, preload=("no_such_module:f",)))
    with pytest.raises(BenchError, match=r"cannot be started: ModuleNotFoundError.*no_such_module"):
        list(engine.run([Task("a", os.getpid)]))
    engine.close()


def test_closing_in_the_middle_leaves_no_process(setup: Setup) -> None:
    engine = Workers(2, setup)
    running = engine.run([Task("quick", os.getpid), script("long", "import time; time.sleep(600)")])
    next(running)
    processes = [worker.process for worker in engine._pool]
    engine.close()
    assert not any(process.is_alive() for process in processes)
    assert list(setup.scratch.iterdir()) == []
