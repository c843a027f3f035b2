"""What protocol latency-v2 finds beyond the timings, as tables: stages and first call; memory, power, throttling."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bench.record import Latency, Record
from bench.report.numbers import MISSING, milliseconds, plain
from bench.report.texttable import TextTable

_FIRST = ["method", "NFE", "batch"]
_STAGES = {"encode ms": "text_encoder", "denoise ms": "denoiser", "solve ms": "solver", "decode ms": "decoder"}
_COLD = {"load s": "load", "compile s": "compile"}
_MEMORY = {"allocated MiB": "allocated", "reserved MiB": "reserved", "process MiB": "nvml_process"}


def stage_tables(records: Iterable[Record]) -> list[TextTable]:
    """Per suite and protocol a table of stages and, where a device told something, one of the device."""
    found = list(records)
    return [
        *_tables(found, "stages", [*_STAGES, *_COLD, "first image s"], _stages),
        *_tables(found, "device", [*_MEMORY, "W", "J/batch", "throttled"], _device),
    ]


def _tables(
    records: Iterable[Record], what: str, headers: list[str], row: Callable[[Latency], list[str]]
) -> list[TextTable]:
    tables: dict[tuple[str, str], TextTable] = {}
    for record in records:
        suite, protocol = record.cell.suite, record.cell.metrics[0]
        for entry in record.latency:
            numbers = row(entry)
            if all(number == MISSING for number in numbers):
                continue
            new = TextTable(f"{suite}, {what}", [*_FIRST, *headers], footer=[f"Protocol: {protocol}"])
            table = tables.setdefault((suite, protocol), new)
            mark = f" {table.note(entry.fallback)}" if entry.fallback else ""
            table.rows.append([record.cell.method + mark, str(record.cell.nfe), str(entry.batch), *numbers])
    return list(tables.values())


def _stages(entry: Latency) -> list[str]:
    cold = entry.cold_stages
    return [
        *(milliseconds(entry.stages.get(name)) for name in _STAGES.values()),
        *(plain(cold.get(name)) for name in _COLD.values()),
        plain(sum(cold.values()) if "process" in cold else None),
    ]


def _device(entry: Latency) -> list[str]:
    memory = entry.memory
    return [
        *(plain(memory[name] / 2**20) if name in memory else MISSING for name in _MEMORY.values()),
        plain(entry.power_watts),
        plain(entry.energy_joules),
        f"{entry.throttled['any']} of {entry.runs}" if entry.throttled else MISSING,
    ]
