"""Ranked rows: what one line of a table says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.record import Measured, Record, Status
from bench.report.load import Results
from bench.report.point import Point
from bench.report.rank import Score, Z, ranks
from bench.report.sections import Section

TIES = (
    "Methods share a rank when their difference to the best of their group is not significant "
    "(two-sided 5 %, uncorrected; paired over common noise where influence is known, else from the intervals)."
)


@dataclass(frozen=True)
class Row:
    """A method at a budget with its place; ``rank`` is None where there is no value."""

    point: Point
    rank: int | None
    value: Measured | None


def _first(record: Record) -> str | None:
    """The first metric of a cell that has a number: what its influence is on."""
    return next((metric for metric in record.cell.metrics if metric in record.metrics), None)


def _score(point: Point, metric: str, results: Results) -> Score:
    measured = point.value(metric)
    assert measured is not None
    records: list[Record] = [record for record in point.ok if metric in record.metrics]
    found = {record.cell.seed: results.influence(record) for record in records if _first(record) == metric}
    interval = None if measured.low is None or measured.high is None else measured.high - measured.low
    return Score(
        value=measured.value,
        by_seed={record.cell.seed: record.metrics[metric].value for record in records},
        influence={seed: influence for seed, influence in found.items() if influence is not None},
        error=None if interval is None else interval / (2 * Z),
    )


def ranked(section: Section, nfe: int, results: Results) -> list[Row]:
    """Rows at one budget: best first, then what has no value, by name."""
    points = [point for point in section.points if point.nfe == nfe]
    valued = [point for point in points if point.value(section.metric) is not None]
    missing = [point for point in points if point.value(section.metric) is None]
    rows: list[Row] = []
    if valued:
        first = valued[0].value(section.metric)
        assert first is not None
        places = ranks([_score(point, section.metric, results) for point in valued], first.better)
        sign = 1 if first.better == "lower" else -1
        rows = [Row(p, rank, p.value(section.metric)) for p, rank in zip(valued, places, strict=True)]
        rows.sort(key=lambda row: (sign * row.value.value if row.value else 0.0, row.point.method))
    return rows + [Row(point, None, None) for point in sorted(missing, key=lambda point: point.method)]


def reasons(point: Point) -> list[str]:
    """Why seeds of a point have no numbers."""
    return reasons_of(point.records)


def reasons_of(records: Iterable[Record]) -> list[str]:
    """Why records have no numbers: ``"unsupported: needs an even number"``, each once."""
    texts = []
    for record in records:
        if record.status is not Status.OK:
            lines = record.reason.strip().splitlines()
            texts.append(f"{record.status}: {lines[0]}" if lines else str(record.status))
    return list(dict.fromkeys(texts))
