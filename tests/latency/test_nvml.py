from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bench.latency import nvml
from bench.latency.nvml import Meter, open_meter, reasons


class Refused(Exception):
    pass


class Mismatch(Exception):
    pass


class FakeLibrary:
    """As ``pynvml``; what is not in ``answers`` is not supported."""

    NVMLError = Refused
    NVMLLibraryMismatchError = Mismatch

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[object, ...]] = []

    def nvmlInit(self) -> None:
        self._answer("nvmlInit")

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != self.answers["uuid"]:
            raise Refused
        return f"handle of {uuid}"

    def _answer(self, name: str, *args: object) -> Any:
        self.asked.append((name, *args))
        if self.answers.get(name) in (Refused, Mismatch):
            raise self.answers[name]
        return self.answers.get(name)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvmlDevice") or name not in self.answers:
            raise AttributeError(name)

        def call(handle: object, *args: object) -> Any:
            value = self._answer(name, *args)
            return value[args[0]] if isinstance(value, dict) else value

        return call


FULL = {
    "nvmlDeviceGetPowerUsage": 251_500,
    "nvmlDeviceGetTotalEnergyConsumption": 7_000_250,
    "nvmlDeviceGetClockInfo": {1: 1980, 2: 2619},
    "nvmlDeviceGetTemperatureV": 43,
    "nvmlDeviceGetTemperature": 99,
    "nvmlDeviceGetCurrentClocksEventReasons": 0x5,
}


def test_readings_are_in_watts_joules_and_megahertz() -> None:
    found = Meter(FakeLibrary(**FULL), "handle", now=lambda: 12.0).read()
    assert (found.at, found.watts, found.joules, found.celsius) == (12.0, 251.5, 7000.25, 43)
    assert (found.sm_mhz, found.memory_mhz, found.mask) == (1980, 2619, 0x5)


def test_what_is_not_supported_is_missing_and_asked_once() -> None:
    library = FakeLibrary(
        nvmlDeviceGetPowerUsage=Refused, nvmlDeviceGetTemperatureV=Refused, nvmlDeviceGetTemperature=40
    )
    meter = Meter(library, "handle")
    for _ in range(3):
        found = meter.read()
    assert found.celsius == 40  # an older name
    assert [found.watts, found.joules, found.sm_mhz, found.memory_mhz, found.mask] == [None] * 5
    assert library.asked.count(("nvmlDeviceGetPowerUsage",)) == 1
    assert library.asked.count(("nvmlDeviceGetTemperature", 0)) == 3


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (0x0, ()),
        (0x1, ()),  # idle
        (0x2, ()),  # clocks set on purpose
        (0x100, ()),  # display
        (0x4, ("power_cap",)),
        (0x8 | 0x40, ("hardware_slowdown", "thermal_hardware")),
        (0x1 | 0x20, ("thermal_software",)),
        (0x80, ("power_brake",)),
        (0x10 | 0x200 | 0x400, ("sync_boost", "board_limit", "reliability")),
    ],
)
def test_bits_have_the_names_of_nvmls_header(mask: int, names: tuple[str, ...]) -> None:
    assert reasons(mask) == names


def nvml_bit(name: str) -> int:
    return next(bit for bit, found in nvml.REASONS.items() if found == name)


def test_bits_are_those_of_the_package() -> None:
    pynvml = pytest.importorskip("pynvml")
    known = {
        "power_cap": pynvml.nvmlClocksEventReasonSwPowerCap,
        "hardware_slowdown": pynvml.nvmlClocksEventReasonHwSlowdown,
        "sync_boost": pynvml.nvmlClocksEventReasonSyncBoost,
        "thermal_software": pynvml.nvmlClocksEventReasonSwThermalSlowdown,
        "thermal_hardware": pynvml.nvmlClocksEventReasonHwThermalSlowdown,
        "power_brake": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
    }
    # the newest two have names in newer packages only
    newer = {"board_limit": "BoardLimit", "reliability": "Reliability"}
    known |= {name: getattr(pynvml, f"nvmlClocksThrottleReason{end}", nvml_bit(name)) for name, end in newer.items()}
    assert known == {name: bit for bit, name in nvml.REASONS.items()}
    assert (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM, pynvml.NVML_TEMPERATURE_GPU) == (1, 2, 0)
    for name in (*FULL, "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetHandleByUUID"):
        assert callable(getattr(pynvml, name))


def processes(*entries: tuple[int, int | None]) -> list[SimpleNamespace]:
    return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in entries]


@pytest.mark.parametrize(
    ("entries", "least", "wanted"),
    [
        (((7, 500), (8, 900)), 400, 500),
        (((7, 500), (7, 100)), 0, 600),
        (((8, 900),), 0, None),  # not in the list: another name space
        (((7, 500),), 501, None),  # another process with the same number
        (((7, None),), 0, None),  # a driver that does not tell
        ((), 0, None),
    ],
)
def test_memory_of_a_process_is_told_or_missing(
    entries: tuple[tuple[int, int | None], ...], least: int, wanted: int | None
) -> None:
    library = FakeLibrary(
        nvmlDeviceGetMemoryInfo=SimpleNamespace(used=2000), nvmlDeviceGetComputeRunningProcesses=processes(*entries)
    )
    found = Meter(library, "handle").memory(7, least)
    assert found.get("nvml_process") == wanted
    assert found["nvml_device"] == 2000


def test_memory_that_is_not_told_is_missing() -> None:
    assert Meter(FakeLibrary(), "handle").memory(7) == {}
    older = FakeLibrary(nvmlDeviceGetComputeRunningProcesses=Mismatch)  # what pynvml raises where the driver is older
    assert Meter(older, "handle").memory(7) == {}


def test_a_device_is_found_by_its_id_whole_or_a_slice_of_one() -> None:
    for prefix in ("GPU-", "MIG-"):
        library = FakeLibrary(uuid=f"{prefix}12ab", **FULL)
        meter = open_meter("12ab", library)
        assert meter is not None
        assert meter.read().watts == 251.5
    assert open_meter("other", FakeLibrary(uuid="GPU-12ab")) is None


def test_without_package_or_driver_there_is_no_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_meter("12ab", FakeLibrary(nvmlInit=Refused)) is None

    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(nvml.importlib, "import_module", absent)
    assert open_meter("12ab") is None
