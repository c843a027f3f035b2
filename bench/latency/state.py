"""What state the machine is in, before and after a measurement, as far as it tells.

Nothing is guessed: a value the system does not tell is left out. Virtual machines show a constant in
``/proc/cpuinfo`` that is not a clock, so the frequency is read only from the kernel's frequency driver, or where the
processor counts its cycles.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.latency.hardware import CPUINFO, first_cpu, read

_SYS_CPU = Path("/sys/devices/system/cpu")
_GPU_FIELDS = {
    "gpu_sm_mhz": "clocks.sm",
    "gpu_memory_mhz": "clocks.mem",
    "gpu_celsius": "temperature.gpu",
    "gpu_watt": "power.draw",
    "gpu_limits": "clocks_event_reasons.active",  # bits of NVML's nvmlClocksEventReasons; 0x1 is idle, 0x0 none
}
_COUNTERS = ("cpu_throttled", "ticks", "steal", "involuntary_switches")


def _frequency() -> float | None:
    values = [read(path) for path in _SYS_CPU.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    if any(values):
        numbers = [float(value) / 1000 for value in values if value]  # kHz
        return sum(numbers) / len(numbers)
    if "aperfmperf" in first_cpu().get("flags", "").split():
        numbers = [float(value) for value in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", read(CPUINFO), re.MULTILINE)]
        return sum(numbers) / len(numbers) if numbers else None
    return None


def _counters() -> dict[str, float]:
    """Numbers that only grow; their growth over a measurement tells of throttling and of neighbours."""
    found: dict[str, float] = {}
    throttles = [read(path) for path in _SYS_CPU.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    if any(throttles):
        found["cpu_throttled"] = float(sum(int(value) for value in throttles if value))
    ticks = read(Path("/proc/stat")).partition("\n")[0].split()[1:9]  # user ... steal
    if len(ticks) == 8:
        found["ticks"], found["steal"] = float(sum(map(int, ticks))), float(ticks[7])
    try:
        import resource

        found["involuntary_switches"] = float(resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw)
    except ImportError:  # not on Windows
        pass
    return found


def _gpu_state(device: str) -> dict[str, float | str]:
    import torch

    uuid = f"GPU-{torch.cuda.get_device_properties(torch.device(device)).uuid}"
    query = ",".join(_GPU_FIELDS.values())
    command = ["nvidia-smi", "-i", uuid, f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    values = [value.strip() for value in answer.strip().split(",")]
    found: dict[str, float | str] = {}
    for name, value in zip(_GPU_FIELDS, values, strict=False):
        if name == "gpu_limits":
            found[name] = value
        elif re.fullmatch(r"[\d.]+", value):
            found[name] = float(value)
    return found


def state(device: str = "cpu") -> dict[str, float | str]:
    """Clocks, temperatures and counters now, as far as the machine tells; empty if it tells nothing."""
    found: dict[str, float | str] = dict(_counters())
    frequency = _frequency()
    if frequency is not None:
        found["cpu_mhz"] = frequency
    governor = read(_SYS_CPU / "cpu0/cpufreq/scaling_governor").strip()
    if governor:
        found["cpu_governor"] = governor
    if hasattr(os, "getloadavg"):
        found["load"] = os.getloadavg()[0]
    if device.startswith("cuda"):
        found |= _gpu_state(device)
    return found


def compare(before: Mapping[str, float | str], after: Mapping[str, float | str]) -> dict[str, float | str]:
    """What stands in a record: readings as ``before.x`` and ``after.x``, counters as their growth.

    ``cpu_throttled`` counts throttling events; ``cpu_steal`` is the share of time that the hypervisor took away.
    """
    grown = {key: float(after[key]) - float(before[key]) for key in _COUNTERS if key in before and key in after}
    ticks, steal = grown.pop("ticks", 0.0), grown.pop("steal", 0.0)
    result: dict[str, float | str] = dict(grown)
    if ticks > 0:
        result["cpu_steal"] = steal / ticks
    for name, readings in (("before", before), ("after", after)):
        result |= {f"{name}.{key}": value for key, value in readings.items() if key not in _COUNTERS}
    return result
