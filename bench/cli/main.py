"""The ``bench`` command: a table of names, and one place where every error becomes a sentence and an exit code.

A command is a module ``bench.cli.<name>`` with a function ``command``, whose parameters are Typer's and whose docstring
is the help page. It returns its exit code, or None for success. Only the module of the invoked command is imported, so
``bench --help`` costs no more than Typer itself.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from bench.errors import BenchError, ExitCode, UsageError

COMMANDS = {
    "run": "Run methods on a suite and rank them.",
    "list": "List methods, suites, metrics or grids.",
    "show": "Show one entry: equation, parameters, paper, results.",
    "test": "Run the contract tests for one method.",
    "parity": "Compare solvers with other public implementations.",
    "fit": "Calibrate or distil a method, or train a suite's teacher.",
    "latency": "Measure latency under the named protocol.",
    "report": "Make tables and figures from records.",
    "weights": "List, fetch, import or verify weights of feature networks.",
    "reference": "Build, import or show reference statistics.",
    "convert": "Make safetensors of a checkpoint that is a pickle.",
    "vbench": "Set up VBench, score videos, read its results.",
    "doctor": "Check the installation and the machine.",
}

EPILOG = """\b
Examples:
  bench run --methods all --nfe 1,2,4
  bench list methods --family solvers
  bench show ddim

\b
Exit codes:
  0    success
  1    regression against a baseline
  2    bad usage
  3    a cell or a check failed
  4    the baseline is missing
  5    no such device
  6    the output directory cannot be used
  7    weights are missing or damaged
  70   a bug in bench; BENCH_DEBUG=1 shows the stack trace
  130  interrupted
"""


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        try:
            typer.echo(f"fewstep-bench {metadata.version('fewstep-bench')}")
        except metadata.PackageNotFoundError as error:
            raise UsageError("fewstep-bench is not installed, so it has no version; run pip install -e .") from error
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Rank few-step diffusion samplers fairly: the same teacher, the same noise, counted evaluations, intervals."""


def _later() -> None:
    """Stands for a command that was not invoked: the list of commands needs its name only."""


def _invoked(argv: Sequence[str]) -> str:
    """The command on the command line, or on the line that a shell wants completed."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS")
    words = line.split()[1:] if line else argv
    return next((word for word in words if not word.startswith("-")), "")


def load(name: str) -> Callable[..., object] | typer.Typer:
    """The function of a command, or the group of a command with commands of its own."""
    found: Callable[..., object] | typer.Typer = importlib.import_module(f"bench.cli.{name}").command
    return found


def build(argv: Sequence[str]) -> typer.Typer:
    """The application for one command line; only the invoked command is imported."""
    app = typer.Typer(rich_markup_mode=None, epilog=EPILOG, pretty_exceptions_enable=False)
    app.callback()(_root)
    invoked = _invoked(argv)
    for name, summary in COMMANDS.items():
        found = load(name) if name == invoked else _later
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, short_help=summary)
        else:
            app.command(name, short_help=summary)(found)
    return app


def _explain(error: Exception) -> tuple[str, int]:
    """The sentence for the user and the exit code."""
    if isinstance(error, BenchError):
        return str(error), error.exit_code
    if isinstance(error, typer.TyperException):
        return error.format_message(), ExitCode.USAGE
    from bench.registry import InvalidEntry

    if isinstance(error, InvalidEntry):
        return str(error), ExitCode.CELL_FAILED
    hint = "a bug in bench; set BENCH_DEBUG=1 for the stack trace and report it"
    return f"{type(error).__name__}: {error} ({hint})", ExitCode.INTERNAL


def _run(argv: Sequence[str]) -> int:
    result = build(argv)(args=list(argv) or ["--help"], prog_name="bench", standalone_mode=False)
    sys.stdout.flush()  # a reader that went away is noticed here, not while the interpreter shuts down
    return int(result or ExitCode.OK)


def _reader_gone() -> int:
    # what is still buffered goes nowhere, or the interpreter would complain while it shuts down
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.INTERRUPTED


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code.

    Args:
        argv: the arguments without the program's name; ``sys.argv[1:]`` by default.
    """
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # Typer exits with 1, which here means a regression
            return _reader_gone()
        raise
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("bench: interrupted\n")
        return ExitCode.INTERRUPTED
    except Exception as error:  # nothing may reach the user as a stack trace
        if os.environ.get("BENCH_DEBUG") == "1":
            raise
        sentence, code = _explain(error)
        sys.stderr.write(f"bench: {sentence}\n")
        return code
