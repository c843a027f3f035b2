"""A run in one process: records, resuming, verdicts, interruption, exit codes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench import registry, session, store
from bench.errors import ExitCode, OutputError, UsageError
from bench.options import Options
from bench.record import Record, Status
from bench.request import Request, add_plugins
from bench.runner import Interrupted, Summary, run
from bench.store import read_array, read_records

PLUGINS = Path(__file__).parent / "faults" / "plugins"
REQUEST = Request(suite="mixture", methods="faulty[how=raise]", nfe=(1, 2, 3), metrics="mean_norm", samples=4)


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_by_path", {})
    add_plugins([str(PLUGINS / "faulty.py"), *(f"metric:{PLUGINS / name}.py" for name in ("mean_norm", "gap"))])
    yield


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(out=tmp_path / "out", engine="inprocess", report=False)


def go(request: Request, options: Options) -> tuple[Summary, str]:
    stream = io.StringIO()
    return run(request, options, stream), stream.getvalue()


def test_each_cell_ends_as_one_record(options: Options) -> None:
    summary, shown = go(REQUEST, options)
    records = read_records(options.out)
    assert {record.cell.nfe: record.status for record in records.values()} == {
        1: Status.OK,
        2: Status.FAILED,
        3: Status.OK,
    }
    assert (summary.computed, summary.exit_code) == (3, ExitCode.CELL_FAILED)
    assert shown.count("\n") == 3
    assert "failed: RuntimeError: on purpose" in shown
    for record in records.values():
        assert (read_array(options.out, record.id, "influence") is None) == (record.status is not Status.OK)


def test_a_second_run_computes_only_what_is_missing(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    before, _ = go(replace(REQUEST, nfe=(1, 2)), options)
    kept = read_records(options.out)
    summary, _ = go(REQUEST, options)
    assert (before.computed, summary.computed, summary.kept) == (2, 1, 1)
    monkeypatch.setattr(session, "execute", lambda job: pytest.fail("computed again"))
    summary, shown = go(REQUEST, options)
    assert (summary.computed, summary.exit_code, shown) == (0, ExitCode.CELL_FAILED, "")
    assert any("--retry-failed" in line for line in summary.lines())
    after = read_records(options.out)
    assert {cell_id: after[cell_id] for cell_id in kept} == kept


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, ["1 cell: 1 ok; 0", "1 failure of an earlier run was kept; --retry-failed computes it again"]),
        (2, ["2 cells: 2 ok; 0", "2 failures of an earlier run were kept; --retry-failed computes them again"]),
    ],
)
def test_the_last_lines_know_one_from_many(number: int, expected: list[str]) -> None:
    summary = Summary(Path("out"), Counter({Status.OK: number}), computed=0, kept=number, failed=[], report=None)
    lines = list(summary.lines())
    assert (lines[0][: len(expected[0])], lines[1]) == (expected[0], expected[1])


def test_failures_are_retried_when_asked(options: Options) -> None:
    go(REQUEST, options)
    summary, _ = go(REQUEST, replace(options, retry_failed=True))
    assert (summary.computed, summary.kept) == (1, 0)


def test_unsupported_is_no_failure(options: Options) -> None:
    summary, _ = go(replace(REQUEST, methods="faulty[how=no],progressive"), options)
    assert summary.exit_code == ExitCode.OK
    assert summary.statuses == {Status.OK: 2, Status.UNSUPPORTED: 4}
    summary, _ = go(replace(REQUEST, methods="faulty[how=no],progressive"), replace(options, retry_failed=True))
    assert summary.computed == 0


def test_a_broken_plug_in_is_an_invalid_record(options: Options, tmp_path: Path) -> None:
    (tmp_path / "torn.py").write_text("def (")
    add_plugins([str(tmp_path / "torn.py")])
    summary, _ = go(replace(REQUEST, methods="torn,faulty", nfe=(1,)), options)
    assert summary.statuses == {Status.OK: 1, Status.INVALID: 1}
    assert summary.exit_code == ExitCode.CELL_FAILED


def test_the_solution_is_there_before_the_cells(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    _, shown = go(replace(REQUEST, methods="ddim", metrics="gap", nfe=(1, 2), seeds=(0, 1)), options)
    assert shown.startswith("reference solutions: 2\n")
    assert len(list((options.out / "reference").iterdir())) == 2


def test_an_interruption_keeps_what_is_done(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    save = store.Store.save
    saved: list[str] = []

    def interrupted(self: store.Store, record: Record, arrays: object = None) -> None:
        if saved:
            raise KeyboardInterrupt
        saved.append(record.id)
        save(self, record)

    with monkeypatch.context() as patch, pytest.raises(Interrupted, match=r"1 of 3 cells.*the same command") as caught:
        patch.setattr(store.Store, "save", interrupted)
        go(REQUEST, options)
    assert caught.value.exit_code == ExitCode.INTERRUPTED
    summary, _ = go(REQUEST, options)
    assert summary.computed == 2


def test_a_full_disk_stops_the_run(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OutputError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(store, "write_durable", full)
    with pytest.raises(OutputError, match="No space"):
        go(REQUEST, options)
    assert read_records(options.out) == {}


def test_nothing_is_written_when_the_request_is_wrong(options: Options) -> None:
    with pytest.raises(UsageError):
        go(replace(REQUEST, methods="nobody"), options)
    assert not options.out.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"engine": "ray"},
        {"timeout": 5.0},
        {"memory_limit": 2**30},
        {"engine": "workers", "workers": 0},
        {"engine": "workers", "timeout": -1.0},
        {"engine": "workers", "timeout": float("nan")},
        {"engine": "workers", "memory_limit": -5},
        {"batch": 0},
    ],
)
def test_options_that_cannot_be_honoured(options: Options, change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        go(REQUEST, replace(options, **change))  # type: ignore[arg-type]


def test_memory_limits_are_for_the_cpu(options: Options) -> None:
    with pytest.raises(UsageError, match="CPU"):
        replace(options, engine="workers", memory_limit=2**30).check("cuda")
