"""``bench weights``: list, fetch, import and verify the weights of feature networks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bench.errors import AssetError, BenchError, ExitCode, OutputError, UsageError

if TYPE_CHECKING:
    from bench.weightstore.download import Tell
    from bench.weightstore.manifest import Entry

command = typer.Typer(rich_markup_mode=None)

Item = TypeVar("Item")


@command.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    """Get the weights of feature networks; nothing is downloaded without being asked for.

    They live in $BENCH_WEIGHTS, or ~/.cache/fewstep-bench/weights. BENCH_OFFLINE=1 forbids the network.

    \b
    Examples:
      bench weights list
      bench weights fetch image
      bench weights import ~/Downloads/ViT-B-32.pt
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def complete_name(incomplete: str) -> list[str]:
    """Names of entries and groups."""
    from bench.weightstore.manifest import entries

    known = entries().values()
    return sorted(name for name in {n for e in known for n in (e.name, *e.groups)} if name.startswith(incomplete))


Names = Annotated[
    list[str] | None, typer.Argument(help="Names, or groups such as image or vbench.", autocompletion=complete_name)
]
Trust = Annotated[bool, typer.Option("--trust", help="Accept a file whose hash nobody has published, and keep it.")]


def size(count: int | None) -> str:
    """Bytes for people."""
    if count is None:
        return "?"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} B"


def state(entry: Entry) -> str:
    """Whether the file is here, without reading it: ``here``, ``unverified``, ``partial`` or ``-``."""
    from bench.weightstore import lock
    from bench.weightstore.store import place

    path = place(entry)
    if path.is_file():
        locked = lock.read(entry.file)
        return "here" if locked and lock.unchanged(entry.file, locked) else "unverified"
    return "partial" if path.with_name(path.name + ".part").exists() else "-"


@command.command("list")
def list_(
    names: Names = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON with addresses and hashes.")] = False,
) -> None:
    """What there is, what of it is here, and under which licence.

    \b
    Examples:
      bench weights list
      bench weights list vbench --json
    """
    from dataclasses import asdict

    from bench.cli.list import plain
    from bench.weightstore.manifest import select

    chosen = select(names or [])
    if as_json:
        typer.echo(json.dumps([asdict(entry) | {"state": state(entry)} for entry in chosen], indent=1))
        return
    rows = [
        {
            "name": entry.name,
            "state": state(entry),
            "size": size(entry.size),
            "hash": (entry.prefix or "unknown")[:8],
            "for": entry.purpose,
            "licence": entry.licence,
        }
        for entry in chosen
    ]
    typer.echo(plain(rows))


@contextmanager
def bar(entry: Entry) -> Iterator[Tell]:
    """A bar on a terminal, otherwise silence."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(entry.name, total=entry.size)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def each(items: Sequence[Item], do: Callable[[Item], None], what: str) -> None:
    """Do something to all; what fails is named, and the others are done all the same.

    Raises:
        BenchError: one or more have failed; of the kind with the highest exit code.
    """
    failed: list[BenchError] = []
    for item in items:
        try:
            do(item)
        except BenchError as error:
            if len(items) == 1:
                raise
            failed.append(error)
            sys.stderr.write(f"bench: {error}\n")
    if failed:
        worst = max(failed, key=lambda error: error.exit_code)
        raise type(worst)(f"{len(failed)} of {len(items)} were not {what}, see above")


@command.command("fetch")
def fetch(names: Names = None, trust: Trust = False) -> None:
    """Download weights; what broke off is resumed.

    \b
    Examples:
      bench weights fetch image
      bench weights fetch inception-v3-tf
      bench weights fetch hpsv2.1 --trust
    """
    if not names:
        raise UsageError("name the weights to fetch, such as image or inception-v3-tf; bench weights list shows all")
    from bench.weightstore import download
    from bench.weightstore.manifest import select

    def one(entry: Entry) -> None:
        with bar(entry) as tell:
            path = download.fetch(entry, trust, tell)
        typer.echo(f"{entry.name}  {path}")

    each(select(names), one, "fetched")


@command.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="Files brought by hand, under any name.", show_default=False)],
    as_: Annotated[str, typer.Option("--as", help="The entry that it is.  [default: known by its hash]")] = "",
    trust: Trust = False,
) -> None:
    """Accept files brought by hand, by their hash.

    They are copied to the folder of weights, under the names they have there. Folders are skipped.

    \b
    Examples:
      bench weights import ~/Downloads/*.pth
      bench weights import HPS_v2.1_compressed.pt --as hpsv2.1 --trust
    """
    if as_ and len(files) > 1:
        raise UsageError(f"--as {as_} can name one file only, not {len(files)}; import them one by one")
    folders = [file for file in files if file.is_dir()]
    if len(folders) == len(files):
        raise UsageError(f"{folders[0]} is a folder; name the files of weights that you have")
    for folder in folders:
        sys.stderr.write(f"note: {folder} is a folder: skipped\n")
    from bench.weightstore.bring import bring
    from bench.weightstore.store import place

    def one(file: Path) -> None:
        entry = bring(file, as_, trust)
        typer.echo(f"{entry.name}  {place(entry)}")

    each([file for file in files if file not in folders], one, "imported")


@command.command("verify")
def verify(names: Names = None) -> int:
    """Read the files that are here and compare their hashes.

    Without names only what is here is looked at. Ends with code 7 if a file is damaged, or named and missing.

    \b
    Examples:
      bench weights verify
      bench weights verify image
    """
    from bench.weightstore import lock
    from bench.weightstore.manifest import select
    from bench.weightstore.store import check, place

    bad = 0
    chosen = [entry for entry in select(names or []) if names or place(entry).is_file()]
    if not chosen:
        sys.stderr.write(f"note: no weights are here, so nothing was verified ({lock.folder()})\n")
    for entry in chosen:
        path = place(entry)
        if not path.is_file():
            bad += 1
            typer.echo(f"{entry.name}  missing")
            continue
        try:
            sha256 = lock.digest(path)
            how = check(entry, sha256, path)
            with suppress(OutputError):  # a folder that can only be read is verified all the same
                lock.pin(entry.file, sha256, how)
            typer.echo(f"{entry.name}  right ({how})")
        except AssetError as error:
            bad += 1
            typer.echo(f"{entry.name}  WRONG: {error}")
    return ExitCode.ASSET if bad else ExitCode.OK
