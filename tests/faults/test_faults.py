"""Whatever goes wrong costs its own cells, ends in the documented exit code, and is told in one sentence."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import OutputError
from bench.store import Store, read_records

Run = Callable[..., "subprocess.CompletedProcess[str]"]

EXPECTED = {
    "exit": ("crashed", "code 3"),
    "exit0": ("crashed", "code 0"),
    "sysexit": ("failed", "SystemExit"),
    "abort": ("crashed", "SIGABRT"),
    "segv": ("crashed", "SIGSEGV"),
    "kill": ("crashed", "SIGKILL"),
    "hang": ("timeout", "time-out of 10 s"),
    "memory": ("oom", "out of memory"),
    "raise": ("failed", "on purpose"),
    "few": ("failed", "asked for 2 evaluations and counted 1"),
    "many": ("failed", "asked for 2"),
    "nan": ("failed", "not finite"),
    "no": ("unsupported", "only odd budgets"),
}


@pytest.mark.slow
def test_every_fault_costs_its_own_cell_only(run_bench: Run, tmp_path: Path) -> None:
    methods = ",".join(f"faulty[how={how}]" for how in EXPECTED)
    process = run_bench(methods, "1,2", "--timeout", "10", "--memory-limit", "4000")
    assert process.returncode == 3, process.stderr
    found = {(record.cell.method, record.cell.nfe): record for record in read_records(tmp_path / "out").values()}
    assert len(found) == 2 * len(EXPECTED)
    for how, (status, reason) in EXPECTED.items():
        assert found[f"faulty[how={how}]", 1].status == "ok"
        record = found[f"faulty[how={how}]", 2]
        assert record.status == status, record
        assert reason in record.reason
        assert "last words" in record.stderr or status == "unsupported" or how in ("few", "many", "nan")
    again = run_bench(methods, "1,2", "--timeout", "10", "--memory-limit", "4000")
    assert again.returncode == 3
    assert "0 computed now" in again.stdout
    assert "--retry-failed" in again.stdout


def _interrupt(process: subprocess.Popen[str]) -> tuple[str, str]:
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=60)


@pytest.mark.slow
def test_two_runs_at_once_and_ctrl_c(command: Callable[..., list[str]], run_bench: Run, tmp_path: Path) -> None:
    line = command("faulty[seconds=0.3]", "1-50")
    process = subprocess.Popen(line, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not list(tmp_path.glob("out/records/*.json")):
        assert process.poll() is None
        time.sleep(0.05)
    second = run_bench("faulty", "1")
    assert (second.returncode, second.stderr.count("\n")) == (6, 1)
    assert "another run is writing to" in second.stderr
    _, stderr = _interrupt(process)
    assert process.returncode == 130
    assert "the same command computes the rest" in stderr and "Traceback" not in stderr
    assert len(read_records(tmp_path / "out")) >= 1


@pytest.mark.parametrize("nfe", ["0", "-1", "a", "1000000000", "10^9", "1-1000000000", "3-1", "", "1.5"])
def test_bad_budgets(nfe: str) -> None:
    from bench.errors import UsageError
    from bench.request import NFE_LIMIT, integers

    with pytest.raises(UsageError, match="nfe"):
        integers(nfe, "nfe", 1, NFE_LIMIT)


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    from bench.store import write_durable

    with Store(tmp_path / "out") as store:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match=r"No space left on device.*--out"):
            write_durable(store.records / "a.json", b"{}")
        assert list(store.records.iterdir()) == []


def test_a_full_disk_for_real(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    from bench.store import write_durable

    (tmp_path / ".a.json.tmp").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left on device"):
        write_durable(tmp_path / "a.json", b"{}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "below a file"])
def test_a_folder_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("here first")
    out = tmp_path / "file" if place == "file" else tmp_path / "file" / "out"
    with pytest.raises(OutputError, match=r"cannot write to .*--out"), Store(out):
        pass
