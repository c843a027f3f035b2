"""``bench test``: what the contract says becomes lines and an exit code. The contract itself is tested elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import registry
from bench.cli import test as cli
from bench.contract import Check, Outcome
from bench.errors import ExitCode

GREEDY = """
from bench.api import Info, Method

INFO = Info(summary="Asks for one evaluation more than it may.", family="solvers")


class Greedy(Method):
    def sample(self, problem, nfe):
        for _ in range(nfe + 1):
            x = problem.denoise(problem.x, 1.0)
        return x
"""


def outcome(status: str, message: str = "") -> Outcome:
    return Outcome(Check("some_check", "why it matters", lambda subject: None), status, message)  # type: ignore[arg-type]


def test_a_line_names_the_verdict_the_check_and_the_reason() -> None:
    assert cli.line(outcome("passed")) == "ok       some_check"
    assert cli.line(outcome("failed", "at nfe=3")) == "FAILED   some_check: at nfe=3"
    assert cli.line(outcome("skipped", "not a solver")) == "skipped  some_check: not a solver"


@pytest.mark.parametrize(
    ("statuses", "code", "summary"),
    [
        (["passed", "passed"], ExitCode.OK, "2 passed"),
        (["passed", "skipped"], ExitCode.OK, "1 passed, 1 skipped"),
        (["passed", "failed", "skipped"], ExitCode.CELL_FAILED, "1 passed, 1 failed, 1 skipped"),
    ],
)
def test_exit_code(monkeypatch, capsys, statuses: list[str], code: int, summary: str) -> None:
    monkeypatch.setattr("bench.contract.run_checks", lambda spec: [outcome(status) for status in statuses])
    assert cli.command("ddim") == code
    assert capsys.readouterr().out.splitlines()[-1] == summary


def test_json_lines_are_data(monkeypatch, capsys) -> None:
    monkeypatch.setattr("bench.contract.run_checks", lambda spec: [outcome("failed", "at nfe=3")])
    assert cli.command("ddim", json_=True) == ExitCode.CELL_FAILED
    row = {"check": "some_check", "why": "why it matters", "status": "failed", "message": "at nfe=3"}
    assert json.loads(capsys.readouterr().out) == [row]


def test_a_file_that_breaks_the_contract(bench, tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text(GREEDY)
    done = bench("test", str(tmp_path / "greedy.py"))
    assert done.returncode == ExitCode.CELL_FAILED
    assert any(line.startswith("FAILED   budget") for line in done.stdout.splitlines()), done.stdout
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there(bench, tmp_path: Path) -> None:
    done = bench("test", str(tmp_path / "none.py"))
    assert done.returncode == ExitCode.USAGE and "is not a file" in done.stderr


def test_a_path_becomes_a_name(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(registry, "_by_path", {})
    path = tmp_path / "greedy.py"
    path.write_text(GREEDY)
    assert cli.resolve(str(path)) == "greedy"
    assert cli.resolve("ddim[eta=1]") == "ddim[eta=1]"
