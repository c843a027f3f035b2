"""What the machine is: the fingerprint within which timings may be compared."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def read(path: Path) -> str:
    """The text of a file; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@cache
def first_cpu() -> Mapping[str, str]:
    """The first processor in ``/proc/cpuinfo``; empty where there is none."""
    lines = read(CPUINFO).partition("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def cpu_name() -> str:
    """The processor's own name."""
    return first_cpu().get("model name") or platform.processor() or platform.machine()


def cpu_count() -> int:
    """Logical processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads() -> int:
    """Threads torch computes with."""
    import torch

    return torch.get_num_threads()


def _cpu_parts() -> list[str]:
    cpu = first_cpu()
    model = [cpu.get(key, "") for key in ("cpu family", "model", "stepping")]
    virtual = "virtual" if "hypervisor" in cpu.get("flags", "").split() else "bare"
    return [platform.system(), platform.machine(), cpu_name(), *model, virtual, f"cpus={cpu_count()}"]


def gpu_name(device: str = "cuda") -> str:
    """The name of a CUDA device; asking starts CUDA in this process."""
    import torch

    return torch.cuda.get_device_name(torch.device(device))


def _gpu_parts(device: str) -> list[str]:
    import torch

    gpu = torch.cuda.get_device_properties(torch.device(device))
    return [gpu.name, f"sm={gpu.major}.{gpu.minor}", f"memory={gpu.total_memory}", f"units={gpu.multi_processor_count}"]


def fingerprint(device: str = "cpu", num_threads: int | None = None) -> str:
    """Hardware as ``readable-name@8-hex-digits``; timings are compared only where it is equal.

    The hash covers processor model, usable processors and threads; on CUDA the device as well as these, because small
    batches wait for the host.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
        num_threads: threads torch computes with; asked from torch if not given.
    """
    count = threads() if num_threads is None else num_threads
    parts = [*_cpu_parts(), f"threads={count}"]
    readable = f"{cpu_name()} {cpu_count()}c {count}t"
    if device.startswith("cuda"):
        parts += _gpu_parts(device)
        readable = gpu_name(device)
    plain = re.sub(r"\((r|tm|c)\)|\bcpu\b|@.*?ghz", " ", readable.lower())
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return f"{slug}@{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:8]}"
