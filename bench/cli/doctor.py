"""``bench doctor``: is the installation whole, and can this machine be measured on?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import ExitCode

if TYPE_CHECKING:
    from bench.latency.selfcheck import Check


def command(
    device: Annotated[str, typer.Option(help="The clock of this device is checked: cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
) -> int:
    """Check the installation and the machine; the exit code is 3 if a check fails.

    Versions, devices, threads, free memory and disk, weights intact, folders writable, entries readable, and the
    latency protocol's self-calibration: a known delay and an empty call.

    \b
    Examples:
      bench doctor
      bench doctor --device cuda --json
    """
    from bench.cli.checks import facts, run_checks
    from bench.request import check_device

    check_device(device)
    found, checks = facts(device), run_checks(device)
    if as_json:
        rows = [vars(check) for check in checks]
        typer.echo(json.dumps({"facts": found, "checks": rows}, indent=1, ensure_ascii=False))
    else:
        width = max(map(len, found))
        typer.echo("\n".join(f"{name:<{width}}  {value}" for name, value in found.items()) + "\n")
        typer.echo("\n".join(map(_line, checks)))
    return ExitCode.OK if all(check.passed for check in checks) else ExitCode.CELL_FAILED


def _line(check: Check) -> str:
    return f"{'ok' if check.passed else 'FAILED':<6}  {check.name}: {check.found} (wanted: {check.wanted})"
