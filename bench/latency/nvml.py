"""What an NVIDIA device tells of itself, through NVML (package ``nvidia-ml-py``, module ``pynvml``, optional).

Nothing is guessed: without the package, the driver or a right to ask, a value is None and stays out of the record; it
is never 0. A question that the device does not support is asked once.

Units and meanings are those of NVIDIA's NVML API reference: clocks in MHz, power in mW (since Ampere, but for GA100, a
mean over one second), energy in mJ since the driver was loaded (Volta and newer), memory in bytes.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

REASONS = {
    0x4: "power_cap",
    0x8: "hardware_slowdown",
    0x10: "sync_boost",
    0x20: "thermal_software",
    0x40: "thermal_hardware",
    0x80: "power_brake",
    0x200: "board_limit",
    0x400: "reliability",
}
"""Bits of ``nvmlClocksEventReasons`` that hold clocks below what the device could do.

Not in it: 0x1 (idle), 0x2 (clocks set by somebody on purpose), 0x100 (display).
"""

_SM, _MEMORY, _DIE = 1, 2, 0  # NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU


def reasons(mask: int) -> tuple[str, ...]:
    """The names of what holds clocks down, by the bits of a mask; a bit without a name here is left out."""
    return tuple(name for bit, name in REASONS.items() if mask & bit)


@dataclass(frozen=True)
class Reading:
    """What the device told at one moment; None is not told.

    Attributes:
        at: host's clock, seconds.
        mask: bits of ``nvmlClocksEventReasons``.
        joules: a counter that only grows.
    """

    at: float
    sm_mhz: float | None = None
    memory_mhz: float | None = None
    watts: float | None = None
    celsius: float | None = None
    mask: int | None = None
    joules: float | None = None


class Meter:
    """One device, by its NVML handle.

    Args:
        library: the module ``pynvml`` or what behaves like it.
        handle: the library's handle of the device.
        now: the host's clock, seconds.
    """

    def __init__(self, library: Any, handle: Any, now: Callable[[], float] = time.perf_counter) -> None:
        self._library = library
        self._handle = handle
        self._now = now
        self._silent: set[str] = set()
        # of a driver that lacks the function; the second is another kind of exception, of functions with versions
        mismatch: type[Exception] = getattr(library, "NVMLLibraryMismatchError", library.NVMLError)
        self._refusals: tuple[type[Exception], ...] = (library.NVMLError, mismatch)

    def _ask(self, names: Sequence[str], *args: object) -> Any:
        """The answer of the first of these functions that has one; None if none has.

        Several names: newer drivers and older ones.
        """
        for name in names:
            function = getattr(self._library, name, None)
            if function is None or (key := f"{name}{args}") in self._silent:
                continue
            try:
                return function(self._handle, *args)
            except self._refusals:
                self._silent.add(key)
        return None

    def read(self) -> Reading:
        """Clocks, power, energy, temperature and what holds clocks down, now."""
        watts, joules = self._ask(["nvmlDeviceGetPowerUsage"]), self._ask(["nvmlDeviceGetTotalEnergyConsumption"])
        return Reading(
            at=self._now(),
            sm_mhz=self._ask(["nvmlDeviceGetClockInfo"], _SM),
            memory_mhz=self._ask(["nvmlDeviceGetClockInfo"], _MEMORY),
            watts=None if watts is None else watts / 1e3,
            celsius=self._ask(["nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"], _DIE),
            mask=self._ask(["nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"]),
            joules=None if joules is None else joules / 1e3,
        )

    def memory(self, process: int, least: int = 0) -> dict[str, int]:
        """Bytes held on the device: ``nvml_device`` in all, ``nvml_process`` by one process.

        Args:
            process: its id.
            least: bytes that it holds for certain. In a container the ids are often those of another name space, so a
                process with this id that holds less is another one.
        """
        found = {}
        info = self._ask(["nvmlDeviceGetMemoryInfo"])
        if info is not None:
            found["nvml_device"] = int(info.used)
        held = [
            entry.usedGpuMemory
            for entry in self._ask(["nvmlDeviceGetComputeRunningProcesses"]) or ()
            if entry.pid == process and entry.usedGpuMemory is not None
        ]
        if held and sum(held) >= max(least, 1):
            found["nvml_process"] = int(sum(held))
        return found


def open_meter(uuid: str, library: Any = None) -> Meter | None:
    """The device with this id, or None where NVML is not there or does not know it.

    Args:
        uuid: as CUDA tells it, without a prefix; the order of devices differs between CUDA and NVML, this does not.
        library: what to ask instead of ``pynvml``.
    """
    if library is None:
        try:
            library = importlib.import_module("pynvml")
        except ImportError:
            return None
    try:
        library.nvmlInit()
    except library.NVMLError:
        return None
    for prefix in ("GPU-", "MIG-"):
        try:
            return Meter(library, library.nvmlDeviceGetHandleByUUID(f"{prefix}{uuid}"))
        except library.NVMLError:
            continue
    return None
