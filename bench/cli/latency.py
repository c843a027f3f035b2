"""``bench latency``: measure latency under the named protocol, here and now."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.errors import ExitCode
from bench.spec import parse

if TYPE_CHECKING:
    from bench.latency.timing import Budget
    from bench.plan import Plan, Planned
    from bench.record import Record
    from bench.request import Request
    from bench.sampling import Teacher

BATCH_LIMIT = 2**16


def command(
    methods: Annotated[
        str, typer.Option(help="Names, name[key=value,...], families (see bench list methods) or all.")
    ] = "all",
    nfe: Annotated[str, typer.Option(help="Evaluations per sample: 1,2,4 or 1-8.")] = "1,2,4",
    suite: Annotated[str, typer.Option(help="What is generated; parameters in brackets.")] = "digits",
    batches: Annotated[str, typer.Option(help="Batch sizes.")] = "1,64",
    dtype: Annotated[str, typer.Option(help="Of the network: float32, float64, bfloat16 or float16.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads.  [default: one per core]")] = None,
    seconds: Annotated[float, typer.Option(min=0.0, max=3600.0, help="Of steady runs per batch size.")] = 0.3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list instead of a table.")] = False,
) -> int:
    """Measure latency under protocol latency-v1; nothing is kept.

    One method after the other, in this process: leave the machine alone meanwhile. Percentiles are given only where the
    runs support them: p90 from 29 runs on, p99 from 299. bench run measures the same at batches 1 and 64 and keeps it.

    \b
    Examples:
      bench latency --methods ddim,heun --nfe 4
      bench latency --methods progressive --nfe 1 --batches 1,8,64 --seconds 5 --json
    """
    from bench.environment import cores
    from bench.latency.timing import Budget
    from bench.plan import make_plan
    from bench.request import NFE_LIMIT, Request, integers

    count = cores() if threads is None else threads
    request = Request(
        suite=suite,
        methods=methods,
        nfe=integers(nfe, "nfe", 1, NFE_LIMIT),
        dtype=dtype,
        device=device,
        latency=True,
        latency_threads=count,
    )
    sizes = integers(batches, "batches", 1, BATCH_LIMIT)
    plan = make_plan(request)
    records = list(_measure(plan, request, sizes, Budget(seconds=seconds)))
    _print(records, as_json)
    failed = [record for record in records if record.status not in ("ok", "unsupported")]
    return ExitCode.CELL_FAILED if failed else ExitCode.OK


def _measure(plan: Plan, request: Request, sizes: tuple[int, ...], budget: Budget) -> Iterator[Record]:
    """One record per method and budget."""
    import torch

    from bench.latency.protocol import protocol_id
    from bench.sampling import Teacher

    torch.set_num_threads(request.latency_threads)
    teacher = Teacher.load(plan.suite, request.device, getattr(torch, request.dtype))
    protocol = protocol_id(request.device, request.dtype, sizes)
    wanted = [planned for planned in plan.cells if planned.cell.is_latency]
    for i, planned in enumerate(wanted, start=1):
        typer.echo(f"[{i}/{len(wanted)}] {planned.cell.method} nfe={planned.cell.nfe}", err=True)
        yield _record(planned, teacher, protocol, sizes, budget)


def _record(planned: Planned, teacher: Teacher, protocol: str, sizes: tuple[int, ...], budget: Budget) -> Record:
    from datetime import UTC, datetime

    from bench import artifacts, registry
    from bench.engine.base import classify
    from bench.latency.protocol import measure
    from bench.record import Record, Status

    cell = planned.cell.model_copy(update={"metrics": (protocol,)})
    fields: dict[str, Any] = {"id": cell.id, "cell": cell, "created": datetime.now(UTC).isoformat(timespec="seconds")}
    if planned.verdict is not None:
        status, reason = planned.verdict
        return Record(status=status, reason=reason, **fields)
    try:
        method = registry.create("method", cell.method)
        found = artifacts.find(teacher.suite, method, parse(cell.method).name, cell.nfe) if cell.artifact else None
        latency = measure(teacher, method, cell.nfe, found.tensors() if found else {}, sizes, budget)
    except Exception as error:  # a method may raise anything
        status, reason = classify(error)
        return Record(status=status, reason=reason, **fields)
    return Record(status=Status.OK, latency=latency, nfe=cell.nfe, **fields)


def _print(records: list[Record], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([record.model_dump(mode="json") for record in records], indent=1))
        return
    from rich.console import Console

    from bench.report.terminal import FILE_WIDTH, fit, show_table
    from bench.report.timing_table import latency_tables

    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    for table in latency_tables(records):
        table = fit(table, console.width, first=3)
        show_table(table, console)
        typer.echo("\n".join(table.footer))
