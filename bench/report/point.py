"""A method at a budget: the records of all seeds, and what they say together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from bench import registry
from bench.errors import BenchError
from bench.record import FitCost, Latency, Measured, Record, Status
from bench.spec import parse

OTHER = "other"


@cache
def family(method: str) -> str:
    """The family of a method's spec; ``"other"`` if it is not registered here."""
    try:
        entry = registry.entries("method").get(parse(method).name)
    except BenchError:
        return OTHER
    return entry.info.family if entry and entry.info and entry.info.family in registry.GROUPS else OTHER


def combine(values: Sequence[Measured]) -> Measured | None:
    """The mean over seeds, with the half-widths of their intervals in quadrature: seeds are independent.

    None for no values; no interval if one of them has none.
    """
    if len(values) <= 1:
        return values[0] if values else None
    count = len(values)
    mean = sum(value.value for value in values) / count
    bounds = [
        (value.value - value.low, value.high - value.value)
        for value in values
        if value.low is not None and value.high is not None
    ]
    complete = len(bounds) == count
    return values[0].model_copy(
        update={
            "value": mean,
            "low": mean - math.hypot(*(below for below, _ in bounds)) / count if complete else None,
            "high": mean + math.hypot(*(above for _, above in bounds)) / count if complete else None,
            "detail": {},
        }
    )


@dataclass(frozen=True)
class Point:
    """A method at a budget.

    Attributes:
        method: the name on the board: the canonical spec, and what else tells it from others in its section.
        records: one per seed, all of one revision and artifact; those that are ok first.
        latency: by batch size, of the section's one latency protocol; empty if there is none, or more than one.
    """

    method: str
    family: str
    nfe: int
    records: tuple[Record, ...]
    latency: Mapping[int, Latency]

    @property
    def ok(self) -> tuple[Record, ...]:
        """The records that have numbers."""
        return tuple(record for record in self.records if record.status is Status.OK)

    @property
    def status(self) -> Status:
        """Ok if any seed is."""
        return self.records[0].status

    @property
    def fit(self) -> FitCost | None:
        """What fitting has cost."""
        return next((record.fit for record in self.records if record.fit is not None), None)

    def value(self, metric: str) -> Measured | None:
        """One metric, the mean over seeds; None if it is missing."""
        return combine([record.metrics[metric] for record in self.ok if metric in record.metrics])
