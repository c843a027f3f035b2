"""Latency tables: one per suite and protocol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.latency.stages import STAGES
from bench.record import Latency, Record, Status
from bench.report.numbers import MISSING, milliseconds, plain
from bench.report.ranking import reasons_of
from bench.report.sections import heading
from bench.report.texttable import TextTable


def latency_tables(records: Iterable[Record]) -> list[TextTable]:
    """One table per suite and latency protocol: what was measured under different ids never stands in one."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in sorted(records, key=lambda record: (record.cell.method, record.cell.nfe, record.created)):
        if record.cell.is_latency:
            groups.setdefault((record.cell.suite, record.cell.metrics[0]), []).append(record)
    return [_latency_table(suite, protocol, group) for (suite, protocol), group in sorted(groups.items())]


def _latency_table(suite: str, protocol: str, records: Sequence[Record]) -> TextTable:
    headers = ["method", "NFE", "batch", "p50 ms", "images/s", "p90 ms", "p99 ms", "cold ms", "runs"]
    headers += ["in denoiser", "peak MiB"]
    staged = any(entry.stages for record in records for entry in record.latency)
    headers += [f"{name.replace('_', ' ')} ms" for name in STAGES] if staged else []
    table = TextTable(
        f"{heading(suite, records[-1].cell.suite_revision)}, latency",
        headers,
        footer=[f"Protocol: {protocol}; p50 with its 95 % interval."],
    )
    newest = {(record.cell.method, record.cell.nfe): record for record in records}
    for (method, nfe), record in newest.items():
        if record.status is not Status.OK:
            marks = " ".join(map(table.note, reasons_of([record])))
            table.rows.append([method, str(nfe), MISSING, f"{record.status} {marks}", *[MISSING] * (len(headers) - 4)])
        for entry in record.latency:
            stages = [milliseconds(entry.stages.get(name)) for name in STAGES] if staged else []
            table.rows.append([method, str(nfe), *_latency_numbers(entry), *stages])
    return table


def _latency_numbers(entry: Latency) -> list[str]:
    median = milliseconds(entry.p50)
    if entry.p50_low is not None and entry.p50_high is not None:
        median += f" [{milliseconds(entry.p50_low)}, {milliseconds(entry.p50_high)}]"
    share, memory = entry.denoiser_share, entry.peak_memory_bytes
    return [
        str(entry.batch),
        median,
        plain(entry.images_per_second),
        milliseconds(entry.p90),
        milliseconds(entry.p99),
        milliseconds(entry.cold),
        str(entry.runs),
        MISSING if share is None else f"{share:.0%}",
        plain(None if memory is None else memory / 2**20),
    ]
