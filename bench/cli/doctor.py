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

    Versions, devices, threads, free memory and disk, weights intact, folders writable, entries readable, what a CUDA
    device tells of itself, and the latency protocol's self-calibration: a known delay and an empty call.

    \b
    Examples:
      bench doctor
      bench doctor --device cuda --json
    """
    from bench.cli.checks import facts, run_checks
    from bench.request import check_device

    check_device(device)
    found, checks = facts(device) | told(device), run_checks(device)
    if as_json:
        rows = [vars(check) for check in checks]
        typer.echo(json.dumps({"facts": found, "checks": rows}, indent=1, ensure_ascii=False))
    else:
        width = max(map(len, found))
        typer.echo("\n".join(f"{name:<{width}}  {value}" for name, value in found.items()) + "\n")
        typer.echo("\n".join(map(_line, checks)))
    return ExitCode.OK if all(check.passed for check in checks) else ExitCode.CELL_FAILED


def told(device: str) -> dict[str, str]:
    """What a CUDA device tells of itself now, which stands beside timings; nothing for the CPU."""
    if device == "cpu":
        return {}
    import torch

    from bench.latency.nvml import reasons
    from bench.latency.protocol import meter_for

    meter = meter_for(torch.device(device))
    if meter is None:
        return {"nvml": "not there; for power, energy and throttling beside timings: pip install nvidia-ml-py"}
    now = meter.read()
    values = {"MHz": now.sm_mhz, "memory MHz": now.memory_mhz, "W": now.watts, "C": now.celsius}
    parts = [f"{value:g} {unit}" for unit, value in values.items() if value is not None]
    parts += [] if now.mask is None else [f"clocks held down by: {', '.join(reasons(now.mask)) or 'nothing'}"]
    parts += ["no energy counter"] if now.joules is None else []
    return {"nvml": ", ".join(parts)}


def _line(check: Check) -> str:
    return f"{'ok' if check.passed else 'FAILED':<6}  {check.name}: {check.found} (wanted: {check.wanted})"
