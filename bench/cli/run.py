"""``bench run``: run methods on a suite and rank them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.errors import UsageError

MIB = 2**20


def command(
    methods: Annotated[
        str, typer.Option(help="Names, name[key=value,...], families (see bench list methods) or all.")
    ] = "all",
    nfe: Annotated[str, typer.Option(help="Evaluations per sample: 1,2,4 or 1-8.")] = "1,2,4",
    suite: Annotated[
        str, typer.Option(help="What is generated: a name[key=value,...], a TOML file, or diffusers:REPO_OR_FOLDER.")
    ] = "digits",
    seeds: Annotated[str, typer.Option(help="Seeds of the initial noise: 0,1 or 0-4.")] = "0",
    samples: Annotated[int | None, typer.Option(help="Samples per cell.  [default: the suite's]")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples generated at once.  [default: the suite's]")] = None,
    metrics: Annotated[str | None, typer.Option(help="Names; the first one ranks.  [default: the suite's]")] = None,
    dtype: Annotated[str, typer.Option(help="Of the network: float32, float64, bfloat16 or float16.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    latency: Annotated[bool, typer.Option(help="Measure latency after everything else.")] = True,
    out: Annotated[Path | None, typer.Option(help="Where records go.  [default: runs/SUITE]")] = None,
    artifacts: Annotated[Path | None, typer.Option(help="Folder of fitted artifacts, searched first.")] = None,
    plugin: Annotated[
        list[str] | None, typer.Option(help="A file with an entry of your own: my.py, suite:my.py or metric:my.py.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.  [default: one per core; one on a GPU]")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for one cell.  [default: 3600]")] = None,
    memory_limit: Annotated[int | None, typer.Option(help="MiB that a cell may allocate; CPU and Linux only.")] = None,
    engine: Annotated[str, typer.Option(help="workers, or inprocess for debugging.")] = "workers",
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Compute failed cells again.")] = False,
    report: Annotated[bool, typer.Option(help="Write tables and figures at the end.")] = True,
) -> int:
    """Run methods on a suite and rank them.

    Each method, number of evaluations and seed is a cell, and every cell ends as one record, whatever happens to it.
    The same command again computes only what is missing; what failed stays failed until you say --retry-failed.

    \b
    Examples:
      bench run --methods all --nfe 1,2,4
      bench run --methods solvers,progressive --nfe 1-8 --seeds 0-2
      bench run --methods 'dpm_solver_pp[order=3,grid=logsnr]' --nfe 8 --no-latency
      bench run --suite 'mixture[preset=gaussian]' --methods ddim,heun --nfe 2,4,8
      bench run --suite tiny-t2i --methods solvers --nfe 2,4,8
      bench run --suite my-suite.toml --methods dpm_solver_pp,sdxl_lightning --nfe 4 --device cuda --dtype float16
      bench run --plugin my_solver.py --methods my_solver,ddim --nfe 4
    """
    from bench.cli.report import show
    from bench.environment import cores
    from bench.options import Options
    from bench.request import NFE_LIMIT, SEED_LIMIT, Request, add_plugins, folder_name, integers

    if memory_limit is not None and memory_limit < 1:
        raise UsageError(f"--memory-limit must be above 0 MiB, not {memory_limit}")
    request = Request(
        suite=suite,
        methods=methods,
        nfe=integers(nfe, "nfe", 1, NFE_LIMIT),
        seeds=integers(seeds, "seeds", 0, SEED_LIMIT),
        samples=samples,
        metrics=metrics,
        dtype=dtype,
        device=device,
        artifacts=artifacts,
        latency=latency,
        latency_threads=cores(),
    )
    options = Options(
        out=Path("runs", folder_name(suite)) if out is None else out,
        workers=workers,
        batch=batch,
        timeout=timeout,
        memory_limit=None if memory_limit is None else memory_limit * MIB,
        engine=engine,
        retry_failed=retry_failed,
        report=report,
        plugins=add_plugins(plugin or []),
    )
    from bench.runner import run  # late: it imports torch, and a slip of the finger should not wait for that

    summary = run(request, options)
    if summary.report is not None:
        show(summary.report)
    for line in summary.lines():
        typer.echo(line)
    return summary.exit_code
