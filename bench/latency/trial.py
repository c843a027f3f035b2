"""One measurement in progress: first call, warm-up, turns, and what stands in the record."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.api import Method
from bench.latency import hardware
from bench.latency.energy import Log
from bench.latency.memory import peak_memory
from bench.latency.modes import Mode
from bench.latency.nvml import Meter
from bench.latency.stages import DENOISER, medians
from bench.latency.state import compare, state
from bench.latency.subject import Subject
from bench.latency.timing import Budget, median_interval, quantile, steady, supported, warm_up
from bench.record import Latency

_STAT = Path("/proc/self/stat")


@dataclass(frozen=True)
class Contender:
    """A method at a budget of evaluations, with its fitted artifact."""

    method: Method
    nfe: int
    artifact: Mapping[str, Tensor]


def process_age() -> float | None:
    """Seconds since the system started this process; None where it does not tell."""
    try:
        fields = _STAT.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        ticks = int(fields[19])  # field 22 of proc(5), starttime; the name in brackets and what is before it are gone
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def share_out(budget: Budget, rounds: int) -> Budget:
    """What one turn of several may take."""
    return replace(
        budget,
        seconds=budget.seconds / rounds,
        min_runs=ceil(budget.min_runs / rounds),
        max_runs=ceil(budget.max_runs / rounds),
    )


@dataclass
class Trial:
    """One method, budget of evaluations and batch size under measurement.

    ::

        begin: state, first call, warm-up -> turn x rounds -> finish: state, split or share, memory

    Attributes:
        subject: what is timed.
        device: where.
        budget: of all turns together.
        mode: how the denoiser runs; None under protocol v1, which has no turns, stages and samples.
        meter: what the device is asked with beside runs; None where there is none.
        rounds: how many turns there will be.
        loaded: seconds that loading the teacher took, if this is the first measurement of the process, else None.
    """

    subject: Subject
    device: torch.device
    budget: Budget
    mode: Mode | None = None
    meter: Meter | None = None
    rounds: int = 1
    loaded: float | None = None
    log: Log = field(default_factory=Log)
    splits: list[dict[str, float]] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    fallback: str = ""
    _before: dict[str, float | str] = field(default_factory=dict)
    _cold: float = 0.0
    _warm_up: tuple[int, bool] = (0, False)

    def begin(self) -> None:
        """First call and warm-up.

        Raises:
            Unsupported: the method cannot do this budget.
            ValueError: the samples have another shape, or are not finite.
        """
        self._before = state(str(self.device))
        self._cold = self.subject.cold()
        if self.loaded is not None:
            self._add_start(self.loaded)
        self._warm_up = warm_up(self.subject.run, self.budget)
        self.fallback = "" if self.mode is None else self.mode.fallback

    def _add_start(self, loaded: float) -> None:
        """What came before the first call: then all parts add up to process start to first image."""
        self.subject.first["load"] = loaded
        age = process_age()
        if age is not None:
            self.subject.first["process"] = age - sum(self.subject.first.values())

    def turn(self, number: int) -> None:
        """Timed runs; under protocol v2 with readings beside them, and one more run that is split into stages."""
        if self.mode is None:
            self.log.add(number, steady(self.subject.run, self.budget), [])
            return
        self.subject.run()  # others had their turn since, and caches are theirs
        meter = self.meter
        readings = [meter.read()] if meter else []
        beside = (lambda: readings.append(meter.read())) if meter else None
        seconds = steady(lambda: self.subject.run(beside), share_out(self.budget, self.rounds))
        if meter:
            readings.append(meter.read())
        self.log.add(number, seconds, readings)
        total, stages = self.subject.split()
        self.splits.append(stages)
        self.shares.append(stages[DENOISER] / total)

    def finish(self) -> Latency:
        """What stands in the record."""
        after = state(str(self.device))
        durations = self.log.seconds
        p50 = quantile(durations, 0.5)
        low, high = median_interval(durations) or (None, None)
        batch = self.subject.problem.x.shape[0]
        calls, settled = self._warm_up
        return Latency(
            batch=batch,
            runs=len(durations),
            cold=self._cold,
            warm_up=calls,
            settled=settled,
            p50=p50,
            p50_low=low,
            p50_high=high,
            p90=quantile(durations, 0.9) if supported(0.9, len(durations)) else None,
            p99=quantile(durations, 0.99) if supported(0.99, len(durations)) else None,
            images_per_second=batch / p50,
            denoiser_share=self._share(),
            peak_memory_bytes=self._peak(),
            clocks={"threads": hardware.threads(), **compare(self._before, after), **self._busy()},
            **(self._details(self.mode) if self.mode else {}),
        )

    def _share(self) -> float:
        if self.mode is None:
            return self.subject.share(self.budget.share_runs, self.budget.seconds)
        return quantile(self.shares, 0.5)

    def _peak(self) -> int | None:
        if self.mode is not None and self.device.type == "cuda":
            torch.cuda.empty_cache()  # or what others have freed would count as reserved
        return peak_memory(self.subject.prepare(), self.device)

    def _busy(self) -> dict[str, float]:
        busy = self.log.busy
        return {} if busy is None else {"timed_share": busy}

    def _details(self, mode: Mode) -> dict[str, Any]:
        return {
            "mode": mode.name,
            "fallback": self.fallback,
            "rounds": self.rounds,
            "stages": medians(self.splits),
            "cold_stages": self.subject.first,
            "memory": self._memory(),
            "power_watts": self.log.power,
            "energy_joules": self.log.energy,
            "samples": self.log.columns(),
            "throttled": self.log.throttled(),
        }

    def _memory(self) -> dict[str, int]:
        """At the peak of the call that ``_peak`` made; what other trials of the group hold is in it."""
        if self.device.type != "cuda":
            return {}
        reserved = torch.cuda.max_memory_reserved(self.device)
        found = {"allocated": torch.cuda.max_memory_allocated(self.device), "reserved": reserved}
        return found | (self.meter.memory(os.getpid(), reserved) if self.meter else {})
