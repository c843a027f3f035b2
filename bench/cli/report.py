"""``bench report``: tables and figures from the records of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bench.report import Report


def show(report: Report) -> None:
    """Print the ranked tables of a report and where its files are."""
    from rich.console import Console

    from bench.report.terminal import FILE_WIDTH
    from bench.report.terminal import show as show_tables

    width = None if sys.stdout.isatty() else FILE_WIDTH
    show_tables(report.sections, report.results, Console(width=width))
    typer.echo(f"report: {report.folder} ({len(report.files)} files)")


def command(
    out: Annotated[Path, typer.Argument(help="The directory that a run wrote.", show_default=False)],
    dest: Annotated[Path | None, typer.Option(help="Where to write.  [default: OUT/report]")] = None,
    table: Annotated[bool, typer.Option(help="Print the ranked tables.")] = True,
) -> None:
    """Make tables and figures from records.

    Writes table.md, table.csv, table.tex, records.csv, and figures as PNG and SVG, as wide as a page and as a column.
    Nothing is computed anew, and a report that is up to date is not written again.

    \b
    Examples:
      bench report runs/digits
      bench report runs/digits --dest paper/figures --no-table
    """
    from bench.report import write_report

    report = write_report(out, dest)
    if table:
        show(report)
