"""Power, energy and throttling of a cell, from what was read beside its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from bench.latency.nvml import Reading, reasons

COLUMNS = ("sm_mhz", "memory_mhz", "watts", "celsius", "mask")
DIGITS = 6


def integral(readings: Sequence[Reading]) -> float | None:
    """Joules by the trapezoidal rule over power readings; None with fewer than two."""
    told = [(reading.at, reading.watts) for reading in readings if reading.watts is not None]
    if len(told) < 2:
        return None
    return sum((end - start) * (first + second) / 2 for (start, first), (end, second) in pairwise(told))


def spent(readings: Sequence[Reading]) -> float | None:
    """Joules from the first reading to the last: the device's counter, else the integral of power.

    The counter of a device moves in steps of some 10 ms: one that has not moved says nothing, and then the integral
    stands as well.
    """
    counted = [reading.joules for reading in readings if reading.joules is not None]
    if len(counted) >= 2 and counted[-1] > counted[0]:
        return counted[-1] - counted[0]
    return integral(readings)


@dataclass
class Log:
    """All runs of one cell and batch size, and what was read beside them.

    A turn is some runs in a row. It begins with a reading on the idle device, has one beside each run and one when the
    device is idle again; its energy is all that the device used from the first to the last, the gaps included.

    Attributes:
        seconds: of each run.
        rounds: the round of each run.
        beside: what was read beside each run.
        masks: what held clocks down beside each run or just before; None where it is not told.
    """

    seconds: list[float] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    beside: list[Reading | None] = field(default_factory=list)
    masks: list[int | None] = field(default_factory=list)
    _joules: list[float | None] = field(default_factory=list)
    _wall: list[float] = field(default_factory=list)

    def add(self, turn: int, seconds: Sequence[float], readings: Sequence[Reading]) -> None:
        """One turn.

        Args:
            turn: which round it belongs to.
            seconds: of its n runs.
            readings: n + 2 of them; none where there is no meter.
        """
        self.seconds += seconds
        self.rounds += [turn] * len(seconds)
        if not readings:
            self.beside += [None] * len(seconds)
            self.masks += [None] * len(seconds)
            return
        for before, own in pairwise(readings[:-1]):
            told = [reading.mask for reading in (before, own) if reading.mask is not None]
            self.beside.append(own)
            self.masks.append(told[0] | told[-1] if told else None)
        self._joules.append(spent(readings))
        self._wall.append(readings[-1].at - readings[0].at)

    @property
    def power(self) -> float | None:
        """Watts, the mean over all turns; None if a turn's energy is not known."""
        total = self._total()
        wall = sum(self._wall)
        return total / wall if total is not None and wall > 0 else None

    @property
    def energy(self) -> float | None:
        """Joules per run."""
        total = self._total()
        return None if total is None else total / len(self.seconds)

    def _total(self) -> float | None:
        told = [joules for joules in self._joules if joules is not None]
        return sum(told) if told and len(told) == len(self._joules) else None

    @property
    def busy(self) -> float | None:
        """The timed share of the turns' wall clock; the rest is reading and starting."""
        wall = sum(self._wall)
        return sum(self.seconds) / wall if wall > 0 else None

    def throttled(self) -> dict[str, int]:
        """Runs whose clocks were held down: ``any``, and each reason that occurred; empty if it was never told."""
        told = [reasons(mask) for mask in self.masks if mask is not None]
        if not told:
            return {}
        found = {"any": sum(bool(names) for names in told)}
        for names in told:
            for name in names:
                found[name] = found.get(name, 0) + 1
        return found

    def columns(self) -> dict[str, tuple[float | None, ...]]:
        """All of it by column, one value per run; what was never told is not there."""
        found: dict[str, list[float | None]] = {
            "seconds": [float(f"{value:.{DIGITS}g}") for value in self.seconds],
            "round": [float(value) for value in self.rounds],
        }
        for name in COLUMNS:
            found[name] = [None if reading is None else getattr(reading, name) for reading in self.beside]
        found["mask"] = [None if mask is None else float(mask) for mask in self.masks]
        return {name: tuple(values) for name, values in found.items() if any(value is not None for value in values)}
