"""``bench latency``: measure latency under the named protocols, here and now."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import ExitCode

if TYPE_CHECKING:
    from bench.record import Record

BATCH_LIMIT = 2**16
RESOLUTION_LIMIT = 2**14
ROUNDS_LIMIT = 1000


def command(
    methods: Annotated[
        str, typer.Option(help="Names, name[key=value,...], families (see bench list methods) or all.")
    ] = "all",
    nfe: Annotated[str, typer.Option(help="Evaluations per sample: 1,2,4 or 1-8.")] = "1,2,4",
    suite: Annotated[str, typer.Option(help="What is generated; parameters in brackets.")] = "digits",
    batches: Annotated[
        str | None, typer.Option(help="Batch sizes.  [default: 1,64; 1,4 for suites with stages]")
    ] = None,
    resolutions: Annotated[
        str | None, typer.Option(help="512,1024: sizes in pixels, for suites that have a choice.")
    ] = None,
    mode: Annotated[
        str,
        typer.Option(help="Of the denoiser: eager, graph, compile, compile-reduce-overhead or compile-max-autotune."),
    ] = "eager",
    dtype: Annotated[str, typer.Option(help="Of the network: float32, float64, bfloat16 or float16.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads.  [default: one per core]")] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.0, max=3600.0, help="Of steady runs per batch size.  [default: 0.3; 1.5 on cuda]"),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, max=ROUNDS_LIMIT, help="Under latency-v2, how often methods take turns.")
    ] = 3,
    group: Annotated[
        int, typer.Option(min=1, help="How many methods take turns; fewer need less memory on the device.")
    ] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list instead of tables.")] = False,
) -> int:
    """Measure latency under protocol latency-v1 or latency-v2; nothing is kept.

    All in this process: leave the machine alone meanwhile. Percentiles are given only where the runs support them: p90
    from 29 runs on, p99 from 299. Protocol latency-v2 holds on cuda, for suites with stages and for modes other than
    eager: stages, memory, power and throttling stand beside the timings, and methods take turns.

    \b
    Examples:
      bench latency --methods ddim,heun --nfe 4
      bench latency --methods progressive --nfe 1 --batches 1,8,64 --seconds 5 --json
      bench latency --methods ddim --nfe 4 --device cuda --dtype float16 --mode graph --batches 1,4,16
    """
    from bench.environment import cores
    from bench.latency_session import Wanted, at_resolutions, measure_all
    from bench.request import NFE_LIMIT, Request, integers

    request = Request(
        suite=suite,
        methods=methods,
        nfe=integers(nfe, "nfe", 1, NFE_LIMIT),
        dtype=dtype,
        device=device,
        latency=True,
        latency_threads=cores() if threads is None else threads,
    )
    wanted = Wanted(
        batches=None if batches is None else integers(batches, "batches", 1, BATCH_LIMIT),
        mode=mode,
        seconds=seconds,
        rounds=rounds,
        group=group,
    )
    sizes = () if resolutions is None else integers(resolutions, "resolutions", 1, RESOLUTION_LIMIT)
    records = measure_all(at_resolutions(request, sizes), wanted, lambda text: typer.echo(text, err=True))
    _print(records, as_json)
    failed = [record for record in records if record.status not in ("ok", "unsupported")]
    return ExitCode.CELL_FAILED if failed else ExitCode.OK


def _print(records: list[Record], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([record.model_dump(mode="json") for record in records], indent=1))
        return
    from rich.console import Console

    from bench.cli.stage_table import stage_tables
    from bench.report.terminal import FILE_WIDTH, fit, show_table
    from bench.report.timing_table import latency_tables

    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    for table in [*latency_tables(records), *stage_tables(records)]:
        table = fit(table, console.width, first=3)
        show_table(table, console)
        typer.echo("\n".join(table.footer))
