"""``bench parity``: the table, the page, and what its exit code says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bench.cli import parity as cli
from bench.errors import ExitCode, UsageError
from bench.parity import table
from bench.parity.base import Case, Setup, Unavailable
from bench.parity.table import Row


def row(**more: object) -> Row:
    case = Case(solver="ddim", against="azula", what="f(x=1)", reference=lambda setup: setup.x, nfes=(1,))
    return Row(**{"module": "ddim", "case": case, "source": "azula 1.0", "gaps": {1: 2e-7}, **more})


def fake(monkeypatch: pytest.MonkeyPatch, *found: Row) -> None:
    monkeypatch.setattr(table, "rows", lambda chosen, where, tell: list(found))


def test_a_solver_with_a_reference(bench) -> None:
    done = bench("parity", "ddpm")
    assert done.returncode == ExitCode.OK, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["OURS", "THEIRS", "STATUS", "1", "2", "3", "5", "8", "10", "20", "LARGEST"]
    assert any("DDPMScheduler" in line and "differs [1]" in line for line in lines)
    assert any(line.startswith("[1] diffusers clips") for line in lines)
    assert lines[-1].startswith("1 solver; ")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (row(), ExitCode.OK),
        (row(missing="azula is not installed"), ExitCode.OK),
        (row(problem="differs by 1.0e-03 at nfe=1"), ExitCode.CELL_FAILED),
    ],
)
def test_exit_code(monkeypatch, capsys, found: Row, code: int) -> None:
    fake(monkeypatch, found)
    assert cli.command(["ddim"]) == code
    assert f"{found.status} [1]" in capsys.readouterr().out or found.status == "equal"


def test_the_row_that_fails_is_named_with_the_reason(monkeypatch, capsys) -> None:
    fake(monkeypatch, row(), row(problem="differs by 1.0e-03 at nfe=1; the tolerance is 1e-05"))
    cli.command(["ddim"])
    out = capsys.readouterr().out
    assert "ddim  azula 1.0: f(x=1)  FAILED [1]" in out
    assert "[1] differs by 1.0e-03 at nfe=1; the tolerance is 1e-05" in out
    assert out.splitlines()[-1] == "1 solver; 1 equal, 1 FAILED"


def test_json_is_data(monkeypatch, capsys) -> None:
    fake(monkeypatch, row(gaps={1: 2e-7, 2: float("inf")}, problem="differs"))
    assert cli.command(["ddim"], json_=True) == ExitCode.CELL_FAILED
    (found,) = json.loads(capsys.readouterr().out)
    assert found["differences"] == {"1": 2e-7, "2": None}
    assert (found["solver"], found["reference"], found["status"]) == ("ddim", "azula 1.0", "FAILED")


def test_the_page_is_written(monkeypatch, tmp_path: Path) -> None:
    fake(monkeypatch, row())
    cli.command(["ddim"], write_=tmp_path / "parity.md")
    assert "| azula 1.0 | `f(x=1)` | `ddim` | equal | 2e-07 |" in (tmp_path / "parity.md").read_text()
    with pytest.raises(UsageError, match="there is no folder"):
        cli.command(["ddim"], write_=tmp_path / "none" / "parity.md")


def test_a_checkout_runs_instead_of_the_recording(monkeypatch, capsys, tmp_path: Path) -> None:
    """A stand-in for the repository: it has no ``generate.py``, which is said."""
    for command in ("init -q", "-c user.name=a -c user.email=a@b commit -q --allow-empty -m x"):
        subprocess.run(["git", "-C", str(tmp_path), *command.split()], check=True)
    assert cli.command(["heun"], checkout=[f"NVlabs/edm={tmp_path}"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert f"there is no generate in {tmp_path}" in out
    assert "missing" in out


def test_record_keeps_what_a_checkout_gives(monkeypatch, capsys, tmp_path: Path) -> None:
    kept: list[tuple[str, str, Path]] = []
    monkeypatch.setattr("bench.parity.recorded.record", lambda *args: kept.append(args) or 3)
    fake(monkeypatch, row())
    cli.command(["heun", "ddim"], checkout=[f"NVlabs/edm={tmp_path}"], record=True)
    assert kept == [("ddim", "NVlabs/edm", tmp_path), ("heun", "NVlabs/edm", tmp_path)]
    assert "recorded 3 of heun from NVlabs/edm" in capsys.readouterr().err


def test_a_missing_package_is_a_row(monkeypatch, capsys) -> None:
    def absent(setup: Setup) -> None:
        raise Unavailable("azula is not installed; pip install 'fewstep-bench[test]'")

    case = Case(solver="ddim", against="azula", what="f", reference=absent)
    monkeypatch.setattr("bench.parity.found.cases", lambda module: (case,))
    monkeypatch.setattr(table, "cases", lambda module: (case,))
    assert cli.command(["ddim"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "[1] azula is not installed; pip install 'fewstep-bench[test]'" in out
    assert out.splitlines()[-1] == "0 solvers; 1 missing"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["ddimm"], ["ddimm", "did you mean ddim"]),
        (["heun", "--checkout", "NVlabs/edm"], ["owner/name=PATH"]),
        (["heun", "--checkout", "NVlabs/edm=/nowhere"], ["/nowhere is not a folder"]),
        (["heun", "--checkout", "NVlabs/edn=."], ["NVlabs/edn", "did you mean NVlabs/edm"]),
        (["heun", "--record"], ["--record", "--checkout"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bad_usage_is_one_sentence(bench, args: list[str], words: list[str]) -> None:
    done = bench("parity", *args)
    assert done.returncode == ExitCode.USAGE
    assert done.stdout == "" and done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr


def test_completion_offers_solvers_with_a_reference() -> None:
    assert {"ddim", "heun"} <= set(cli.complete_solver(""))
    assert not [name for name in cli.complete_solver("") if name.startswith("_")]
    assert cli.complete_solver("ddp") == ["ddpm"]
