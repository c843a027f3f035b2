"""Where numbers come from: versions, hardware, threads. The hardware's own names are those of the latency protocol."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.latency import hardware

PACKAGES = ("fewstep-bench", "torch", "numpy")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def _quota() -> float | None:
    """Cores that the control group allows (cgroup v2 ``cpu.max``); None without a limit."""
    try:
        limit, period = _QUOTA.read_text(encoding="ascii").split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        return None


def cores() -> int:
    """Cores this process may use: its affinity, cut by the control group's quota; at least 1."""
    usable, quota = hardware.cpu_count(), _quota()
    return max(1, usable if quota is None else min(usable, int(quota)))


def memory_gib() -> float | None:
    """Physical memory, GiB; None where the system does not tell."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def describe(device: str, threads: int) -> dict[str, Any]:
    """What a record says of where it was made.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
        threads: torch computes with in the process that worked on the cell.
    """
    return {
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "system": platform.system(),
        "cpu": hardware.cpu_name(),
        "cores": cores(),
        "memory_gib": memory_gib(),
        "gpu": "" if device == "cpu" else hardware.gpu_name(device),
        "fingerprint": hardware.fingerprint(device, threads),
        "threads": threads,
    }
