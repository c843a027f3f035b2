"""What ``bench doctor`` finds out and what it checks."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import artifacts, registry
from bench.environment import describe
from bench.errors import BenchError
from bench.latency.hardware import read
from bench.latency.selfcheck import Check, calibrate
from bench.registry import InvalidEntry, Kind

GIB = 2**30
LEAST_DISK = 1.0  # GiB; a run of the default suite writes some MiB
LEAST_MEMORY = 1.0  # GiB; what a few workers with the default suite's networks need
KINDS: tuple[Kind, ...] = ("method", "suite", "metric")


def facts(device: str) -> dict[str, str]:
    """Versions, processor, devices and threads, as text."""
    import torch

    found = {key: str(value) for key, value in describe(device, torch.get_num_threads()).items() if value != ""}
    devices = ["cpu", *(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))]
    return found | {"devices": ", ".join(devices)}


def available_memory() -> float | None:
    """GiB that processes can still take; None where the system does not tell."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", read(Path("/proc/meminfo")), re.MULTILINE)
    return int(match[1]) * 1024 / GIB if match else None


def _room() -> Iterator[Check]:
    disk = shutil.disk_usage(Path.cwd()).free / GIB
    yield Check("free disk here", disk >= LEAST_DISK, f"{disk:.1f} GiB", f"at least {LEAST_DISK:g} GiB")
    memory = available_memory()
    if memory is not None:
        yield Check("free memory", memory >= LEAST_MEMORY, f"{memory:.1f} GiB", f"at least {LEAST_MEMORY:g} GiB")


def writable(folder: Path) -> Check:
    """Whether files can be made in a folder."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            problem = ""
    except OSError as error:
        problem = error.strerror or str(error)
    return Check(f"{folder} can be written to", not problem, problem or "yes", "yes")


def _entries() -> Iterator[Check]:
    for kind in KINDS:
        found = registry.entries(kind)
        broken = [f"{entry.name} ({entry.problem})" for entry in found.values() if entry.problem]
        yield Check(f"{kind}s", not broken, f"{len(found)} found; broken: {', '.join(broken) or 'none'}", "none broken")


def _suite(name: str) -> Check:
    try:
        required = [key for key, field in registry.load("suite", name).model_fields.items() if field.is_required()]
        if required:
            return Check(f"suite {name}", True, f"needs {', '.join(required)}", "its files are what they should be")
        suite = registry.create("suite", name)
        suite.verify()
        return Check(f"suite {name}", True, f"revision {suite.revision()}", "its files are what they should be")
    except (BenchError, InvalidEntry, OSError, ValueError) as error:
        return Check(f"suite {name}", False, str(error), "its files are what they should be")


def damaged(root: Path) -> tuple[int, list[str]]:
    """How many artifacts lie under a folder, and the names of those that are not what their record says."""
    records = sorted(root.rglob("*.json"))
    wrong = []
    for record in records:
        path = record.with_suffix(".safetensors")
        try:
            meta = artifacts.Meta.model_validate_json(record.read_text(encoding="utf-8"))
            intact = hashlib.sha256(path.read_bytes()).hexdigest() == meta.sha256
        except (OSError, ValueError):
            intact = False
        if not intact:
            wrong.append(str(path.relative_to(root)))
    return len(records), wrong


def _artifacts() -> Check:
    count, wrong = damaged(artifacts.SHIPPED)
    return Check(
        "shipped artifacts", not wrong, f"{count} found; damaged: {', '.join(wrong) or 'none'}", "none damaged"
    )


def run_checks(device: str) -> list[Check]:
    """All checks, in the order in which they are shown."""
    suites = [_suite(name) for name, entry in registry.entries("suite").items() if not entry.problem]
    folders = [writable(Path.cwd()), writable(Path(tempfile.gettempdir()))]
    return [*_room(), *folders, *_entries(), *suites, _artifacts(), *calibrate(device)]
