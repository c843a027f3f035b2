"""``bench test``: the contract every method keeps, checked for one method, ours or a third party's."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench import registry
from bench.errors import ExitCode, UsageError
from bench.spec import parse

if TYPE_CHECKING:
    from bench.contract import Outcome

LABELS = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}


def resolve(text: str) -> str:
    """The spec of a method; a path to a Python file is registered for this process and becomes its name."""
    return registry.add_path("method", Path(text)) if text.endswith(".py") else text


def line(outcome: Outcome) -> str:
    """One line of the report: the verdict, the check, and why where it did not pass."""
    reason = f": {outcome.message}" if outcome.message else ""
    return f"{LABELS[outcome.status]:<8} {outcome.check.name}{reason}"


def as_json(outcomes: list[Outcome]) -> str:
    """One JSON list with the check, why it matters, its status and the message."""
    rows = [
        {"check": each.check.name, "why": each.check.why, "status": each.status, "message": each.message}
        for each in outcomes
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False)


def complete_method(incomplete: str) -> list[tuple[str, str]]:
    """Names of methods with their summaries, for shell completion."""
    found = registry.entries("method").values()
    return [(e.name, e.info.summary if e.info else "") for e in found if e.name.startswith(incomplete)]


def command(
    method: Annotated[
        str,
        typer.Argument(
            help="A method with parameters, or the path of a file.", autocompletion=complete_method, show_default=False
        ),
    ],
    json_: Annotated[bool, typer.Option("--json", help="JSON instead of one line per check.")] = False,
) -> int:
    """Run the contract tests for one method: budgets, counting, paired noise, batch independence, declared order.

    They run on closed-form mixtures in seconds. A method that needs an artifact is tried without one.

    \b
    Examples:
      bench test heun
      bench test 'dpm_solver_pp[order=3]'
      bench test my_solver.py
    """
    spec = resolve(method)
    name = parse(spec).name
    registry.load("method", name)
    if name in registry.methods_of(registry.RELEASED):
        raise UsageError(f"{name} is a released checkpoint, which runs on its base model only; see bench show {name}")
    from bench.contract import run_checks

    outcomes = run_checks(spec)
    if json_:
        typer.echo(as_json(outcomes))
    else:
        count = Counter[str](outcome.status for outcome in outcomes)
        summary = ", ".join(f"{count[status]} {status}" for status in LABELS if count[status])
        typer.echo("\n".join([*map(line, outcomes), summary]))
    return ExitCode.CELL_FAILED if any(outcome.status == "failed" for outcome in outcomes) else ExitCode.OK
