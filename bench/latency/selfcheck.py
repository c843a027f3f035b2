"""Self-calibration: does the clock measure what it should? Printed by ``bench doctor``.

A delay of about 5 ms is timed by the clock under test and, around it, by the wall clock; the two must agree. How long
the delay really was does not matter, so a busy machine does not fail.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from bench.latency.clock import Clock, clock_for

DELAY_NS = 5_000_000
CYCLES = 10_000_000  # some 5 ms at the clock rates of today's devices
RELATIVE = 0.05
EMPTY = 50e-6  # seconds
RUNS = 11


@dataclass(frozen=True)
class Check:
    """One thing that was checked, with what was found and what was wanted."""

    name: str
    passed: bool
    found: str
    wanted: str


def _spin() -> None:
    end = time.time_ns() + DELAY_NS
    while time.time_ns() < end:
        pass


def _device_sleep() -> None:
    sleep: Callable[[int], None] = torch.cuda._sleep
    sleep(CYCLES)


def _both(clock: Clock[Any], delay: Callable[[], None]) -> tuple[float, float]:
    """One delay in seconds, by the clock and by the wall clock."""
    start = time.time_ns()
    measured = clock.time(delay)
    return measured, (time.time_ns() - start) * 1e-9


def calibrate(device: str = "cpu") -> list[Check]:
    """Measure a known delay and an empty call with the clock of a device."""
    where = torch.device(device)
    clock = clock_for(where)
    delay = _device_sleep if where.type == "cuda" else _spin
    clock.time(delay)  # the first call starts the device
    measured, known = min((_both(clock, delay) for _ in range(RUNS)), key=lambda pair: pair[1])
    empty = median(clock.time(lambda: None) for _ in range(RUNS))
    return [
        Check(
            f"known delay ({device})",
            abs(measured / known - 1) <= RELATIVE,
            f"{measured * 1e3:.3f} ms",
            f"{known * 1e3:.3f} ms by the wall clock, within {RELATIVE:.0%}",
        ),
        Check(f"empty call ({device})", empty <= EMPTY, f"{empty * 1e6:.2f} us", f"at most {EMPTY * 1e6:g} us"),
    ]
