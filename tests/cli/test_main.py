"""The shell around the commands: what is imported, how errors end, what completion answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from bench.cli import main as shell
from bench.errors import AssetError, BenchError, DeviceError, ExitCode, OutputError, UsageError
from bench.registry import InvalidEntry

HEAVY = {"torch", "pandas", "matplotlib", "scipy", "sklearn", "numpy", "rich"}


def imported(root: Path, *args: str) -> set[str]:
    """All of ``sys.modules`` after a command line, in a process of its own."""
    script = (
        "import contextlib, io, json, sys\n"
        "from bench.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    code = main(sys.argv[1:])\n"
        "assert code == 0, code\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *args],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["list", "methods"],
        ["list", "metrics", "--json"],
        ["list", "grids"],
        ["list", "--help"],
        ["show", "ddim"],
        ["show", "digits", "--json"],
    ],
    ids=" ".join,
)
def test_looking_around_imports_nothing_heavy(root: Path, args: list[str]) -> None:
    assert not imported(root, *args) & HEAVY


def test_help_imports_no_command(root: Path) -> None:
    found = imported(root, "--help")
    assert "pydantic" not in found
    assert {name for name in found if name.startswith("bench.")} == {"bench.cli", "bench.cli.main", "bench.errors"}


def test_help_names_every_command_and_exit_code(bench) -> None:
    done = bench("--help")
    assert done.returncode == 0
    for name, summary in shell.COMMANDS.items():
        assert f"{name} " in done.stdout and summary in done.stdout
    listed = done.stdout.partition("Exit codes:")[2].split("\n")
    codes = {int(line.split()[0]) for line in listed if line.strip()}
    assert codes == {int(code) for code in ExitCode}


def test_version(monkeypatch, capsys) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: {"fewstep-bench": "1.2.3"}[name])
    assert shell.main(["--version"]) == 0
    assert capsys.readouterr().out == "fewstep-bench 1.2.3\n"


def test_no_arguments_is_help(bench) -> None:
    assert bench().stdout == bench("--help").stdout


@pytest.mark.parametrize("name", list(shell.COMMANDS))
def test_every_command_has_a_page_with_examples(bench, name: str) -> None:
    done = bench(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Examples:" in done.stdout and f"bench {name}" in done.stdout


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["lst"], ["lst", "list"]),
        (["list", "methods", "--familly", "solvers"], ["--familly", "--family"]),
        (["list"], ["kind"]),
        (["list", "methods", "--family", "solver"], ["solver", "solvers"]),
        (["list", "method"], ["method", "methods"]),
        (["list", "grids", "--family", "solvers"], ["grids", "--family"]),
        (["show", "ddmi"], ["ddmi", "ddim"]),
        (["show", "ddim["], ["brackets"]),
        (["show", "ddim", "--kind", "metod"], ["metod", "method"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bad_usage_is_one_sentence(bench, args: list[str], words: list[str]) -> None:
    done = bench(*args)
    assert done.returncode == ExitCode.USAGE
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("bench: ")
    assert all(word in done.stderr for word in words), done.stderr


def fake(monkeypatch: pytest.MonkeyPatch, error: BaseException | None, result: object = None) -> None:
    def command() -> object:
        """Do it."""
        if error is not None:
            raise error
        return result

    monkeypatch.setattr(shell, "load", lambda name: command)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BenchError("what"), 2),
        (UsageError("what"), 2),
        (DeviceError("what"), 5),
        (OutputError("what"), 6),
        (AssetError("what"), 7),
        (InvalidEntry("what"), 3),
        (KeyError("what"), 70),
        (ImportError("what"), 70),
        (typer.BadParameter("what"), 2),
    ],
    ids=repr,
)
def test_errors_become_a_sentence_and_a_code(monkeypatch, capsys, error: Exception, code: int) -> None:
    monkeypatch.delenv("BENCH_DEBUG", raising=False)
    fake(monkeypatch, error)
    assert shell.main(["run"]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "what" in err and "Traceback" not in err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()], ids=repr)
def test_interrupted(monkeypatch, capsys, error: BaseException) -> None:
    fake(monkeypatch, error)
    assert shell.main(["run"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (3, 3), (ExitCode.REGRESSION, 1)])
def test_a_command_returns_its_exit_code(monkeypatch, result: object, code: int) -> None:
    fake(monkeypatch, None, result)
    assert shell.main(["run"]) == code


def test_typer_exit_is_an_exit_code(monkeypatch) -> None:
    fake(monkeypatch, typer.Exit(3))
    assert shell.main(["run"]) == 3


def test_debug_shows_the_stack_trace(monkeypatch) -> None:
    monkeypatch.setenv("BENCH_DEBUG", "1")
    fake(monkeypatch, KeyError("what"))
    with pytest.raises(KeyError, match="what"):
        shell.main(["run"])


def test_a_reader_that_goes_away_ends_the_command_quietly(root: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bench", "list", "methods"],
            stdout=writer, stderr=subprocess.PIPE, check=False, env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip
    finally:
        os.close(writer)
    assert done.returncode == ExitCode.INTERRUPTED
    assert done.stderr == b""


def complete(bench, line: str) -> list[str]:
    words = {"_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()))}
    return bench(env=words).stdout.split()


def test_completion_of_commands_and_names(bench) -> None:
    assert set(shell.COMMANDS) <= set(complete(bench, "bench "))
    assert complete(bench, "bench list ") == ["methods", "suites", "metrics", "grids"]
    assert {"ddim", "digits"} <= set(complete(bench, "bench show "))
