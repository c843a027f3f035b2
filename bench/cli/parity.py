"""``bench parity``: solvers beside other public implementations of the same name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bench.parity.case import Case
    from bench.parity.table import Row


def checkouts(values: Sequence[str]) -> dict[str, Path]:
    """``owner/name=PATH`` as a mapping.

    Raises:
        UsageError: a value of another form, or a path that is not a folder.
    """
    found = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals or name.count("/") != 1 or not path:
            raise UsageError(f"--checkout {value}: write owner/name=PATH, such as NVlabs/edm=../edm")
        if not Path(path).is_dir():
            raise UsageError(f"--checkout {value}: {path} is not a folder; give the one that git clone made")
        found[name] = Path(path)
    return found


def as_row(row: Row, notes: list[str]) -> dict[str, str]:
    """One line of the table in the terminal; texts of notes are added to the list."""
    from bench.parity.table import cells, note

    text = note(row)
    if text and text not in notes:
        notes.append(text)
    mark = f" [{notes.index(text) + 1}]" if text else ""
    return {
        "ours": row.case.solver,
        "theirs": f"{row.source}: {row.case.what}",
        "status": row.status + mark,
        **cells(row),
    }


def show(table: Sequence[Row]) -> str:
    """The table with its notes and the summary, without decoration."""
    from bench.cli.list import plain
    from bench.parity.table import summary

    notes: list[str] = []
    lines = plain([as_row(row, notes) for row in table])
    numbered = [f"[{number}] {text}" for number, text in enumerate(notes, 1)]
    return "\n".join([lines, "", *numbered, *([""] if numbered else []), summary(table)])


def keep(chosen: Sequence[tuple[str, Case]], where: dict[str, Path]) -> None:
    """Run authors' code and keep what it gives."""
    from bench.parity.recorded import record

    for module, repository in sorted({(module, case.against) for module, case in chosen if case.against in where}):
        count = record(module, repository, where[repository])
        sys.stderr.write(f"recorded {count} of {module} from {repository}\n")


def write(path: Path, table: Sequence[Row]) -> None:
    """The Markdown page.

    Raises:
        UsageError: its folder does not exist.
        OutputError: it cannot be written.
    """
    from bench.parity.formats import markdown
    from bench.store import write_durable

    if not path.parent.is_dir():
        raise UsageError(f"--write {path}: there is no folder {path.parent}")
    write_durable(path, markdown(table).encode())


def tell(key: str) -> None:
    """Which case is next, on a line of a terminal that the following one replaces."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{key[:100]}")


def complete_solver(incomplete: str) -> list[str]:
    """Names of the solvers of this package that have a reference, without importing one."""
    files = (Path(__file__).parent.parent / "parity" / "cases").glob("[!_]*.py")
    return sorted(path.stem for path in files if path.stem.startswith(incomplete))


def command(
    solvers: Annotated[
        list[str] | None, typer.Argument(help="Names of solvers.  [default: all]", autocompletion=complete_solver)
    ] = None,
    checkout: Annotated[
        list[str] | None, typer.Option(help="owner/name=PATH: run this repository instead of the recording.")
    ] = None,
    record: Annotated[bool, typer.Option("--record", help="Keep what the checkouts give.")] = False,
    write_: Annotated[Path | None, typer.Option("--write", help="Write the Markdown page here.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> int:
    """Compare solvers with other public implementations, number by number.

    Packages (diffusers, k-diffusion, azula) run as installed; authors' code is compared as recorded, or run from a
    checkout. A reference that is not here is a row that says so; a difference above its tolerance ends with code 3.

    \b
    Examples:
      bench parity ddim unipc
      bench parity heun --checkout NVlabs/edm=../edm
      bench parity --write docs/parity.md
    """
    where = checkouts(checkout or [])
    if record and not where:
        raise UsageError("--record keeps what authors' code gives; say where it is with --checkout owner/name=PATH")
    import torch

    from bench.parity.formats import as_json
    from bench.parity.table import rows, select

    torch.set_num_threads(1)  # the states are tiny: threads cost more than they save

    chosen = select(solvers or [], where)
    if record:
        keep(chosen, where)
    table = rows(chosen, where, tell)
    tell("")
    if write_ is not None:
        write(write_, table)
    typer.echo(as_json(table) if json_ else show(table))
    return ExitCode.CELL_FAILED if any(row.status == "FAILED" for row in table) else ExitCode.OK
