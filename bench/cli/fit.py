"""``bench fit``: calibrate or distil methods, or train a suite's teacher."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench import registry
from bench.errors import ExitCode, UsageError
from bench.request import suite_spec
from bench.spec import parse, parse_list

if TYPE_CHECKING:
    from bench.api import Method
    from bench.fit import Fitter

Progress = Callable[[int, int, str], None]
Job = tuple[str, "Method", int]  # the method's key, the method, nfe


def command(
    suite: Annotated[str, typer.Option(help="What to fit to.")] = "digits",
    methods: Annotated[str, typer.Option(help="Names with parameters, families, or all.")] = "",
    nfe: Annotated[str, typer.Option(help="Budgets to fit for, separated by commas.")] = "1,2,4",
    teacher: Annotated[bool, typer.Option("--teacher", help="Train the suite's own networks instead.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for what is made.")] = Path("artifacts"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Fit again what is there already.")] = False,
) -> int:
    """Calibrate or distil methods, or train a suite's teacher.

    Each artifact is a safetensors file and a JSON record under OUT/SUITE/METHOD; bench run --artifacts OUT uses them.
    What is there already is not made again. An artifact that starts from another one makes that one first.

    \b
    Examples:
      bench fit --methods progressive --nfe 1,2,4
      bench fit --methods 'consistency[mode=ct],calibrated' --out artifacts
      bench fit --suite digits --teacher
    """
    if teacher == bool(methods):
        raise UsageError("say what to fit: either --methods NAMES or --teacher")
    suite = suite_spec(suite)
    chosen = registry.create("suite", suite)
    if teacher:
        return _teacher(chosen, out / parse(suite).name, seed)
    jobs = list(_jobs(_methods(methods), _budgets(nfe)))
    from bench.fit import Fitter

    with _display() as progress:
        fitter = Fitter(chosen, out, seed, progress)
        done = [_fit(fitter, job, force) for job in jobs]
    return ExitCode.OK if any(done) else ExitCode.CELL_FAILED


def _teacher(suite: Any, folder: Path, seed: int) -> int:
    from bench.api import Unsupported

    try:
        with _display() as progress:
            suite.fit_teacher(folder, seed, progress)
    except Unsupported as reason:
        raise UsageError(str(reason)) from reason
    typer.echo(f"teacher: {folder}")
    return ExitCode.OK


def _budgets(text: str) -> list[int]:
    """Distinct budgets, largest first: a student may start from the one with more steps."""
    words = [word.strip() for word in text.split(",")]
    wrong = next((word for word in words if not word.isdecimal() or not 0 < int(word) < 10**4), None)
    if wrong is not None:
        raise UsageError(f"nfe {wrong!r} is not a number from 1 to 9999; write --nfe 1,2,4")
    return sorted({int(word) for word in words}, reverse=True)


def _methods(text: str) -> dict[str, Method]:
    """Methods by their canonical specs; of a family, those that have something to fit."""
    chosen: dict[str, Method] = {}
    for spec in parse_list(text):
        names = [str(spec)]
        if spec.name in ("all", *registry.GROUPS):
            infos = {name: registry.entry("method", name).info for name in registry.methods_of(spec.name)}
            names = [name for name, info in infos.items() if info is not None and "artifact" in info.requires]
        for name in names:
            method = registry.create("method", name)
            chosen[registry.canonical("method", parse(name).name, method)] = method
    if not chosen:
        raise UsageError(f"{text!r} names no method that has something to fit")
    return chosen


def _jobs(methods: dict[str, Method], budgets: list[int]) -> Iterator[Job]:
    """One job for each artifact: several budgets may share one."""
    seen: set[tuple[str, str]] = set()
    for spec, method in methods.items():
        for nfe in budgets:
            key = spec, method.artifact_name(nfe) or f"none for {nfe}"
            if key not in seen:
                seen.add(key)
                yield parse(spec).name, method, nfe


def _fit(fitter: Fitter, job: Job, force: bool) -> bool:
    """Fit one artifact and say what became of it; whether it is there now."""
    from bench.api import Unsupported

    name, method, nfe = job
    try:
        found = None if force else fitter.existing(method, name, nfe)
        artifact = found or fitter.fit(method, name, nfe)
    except Unsupported as reason:
        typer.echo(f"{name} nfe={nfe}: unsupported: {reason}")
        return False
    meta = artifact.meta
    cost = f"{meta.fit_evals:,} evaluations, {meta.fit_images:,} images, {meta.fit_seconds:.0f} s"
    typer.echo(f"{name} {meta.name}: {'is there' if found else 'fitted'}, {cost}: {artifact.path}")
    return True


@contextmanager
def _display() -> Iterator[Progress]:
    """A progress bar on a terminal; elsewhere a line at every tenth."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    with Bar(console=console, transient=True) as bar:
        row = bar.add_task("", total=None)
        yield lambda done, total, message: bar.update(row, completed=done, total=total, description=message)


def _lines() -> Progress:
    """A line at every tenth of each artifact."""
    last = (0, 0)

    def show(done: int, total: int, message: str) -> None:
        nonlocal last
        now = (10 * done // max(1, total), total)
        if now != last and now[0]:
            sys.stderr.write(f"{done}/{total} {message}\n")
        last = now

    return show
