"""``bench list``: names, and what each is in one sentence. Imports no entry and no torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, cast

import typer

from bench import registry
from bench.cli.source import grids
from bench.errors import UsageError, unknown
from bench.info import Info
from bench.registry import GROUPS, Entry, Kind

KINDS = ("methods", "suites", "metrics", "grids")
Row = dict[str, str]


def paper_label(info: Info | None) -> str:
    """``"Song 2020, arXiv 2010.02502"`` for the first paper; empty if there is none."""
    if info is None or not info.papers:
        return ""
    paper = info.papers[0]
    first = paper.authors.split(" and ")[0].split()[-1]
    return f"{first} {paper.year}" + (f", arXiv {paper.arxiv}" if paper.arxiv else "")


def _row(entry: Entry) -> Row:
    info = entry.info
    return {
        "name": entry.name,
        "family": info.family if info else "",
        "summary": info.summary if info else "",
        "paper": paper_label(info),
        "source": entry.source,
        "problem": entry.problem,
    }


def rows(kind: str, family: str = "") -> list[Row]:
    """What ``bench list`` shows: one row per name, all values text.

    Raises:
        UsageError: an unknown kind or family, or a family of something that has none.
    """
    if kind not in KINDS:
        raise unknown("kind of entry", kind, KINDS)
    if family and kind != "methods":
        raise UsageError(f"{kind} have no families; --family goes with methods")
    if family and family not in GROUPS:
        raise unknown("family", family, GROUPS)
    if kind == "grids":
        return [
            {"name": name, "parameters": ", ".join(p.name for p in params), "summary": summary}
            for name, (summary, params) in grids().items()
        ]
    found = map(_row, registry.entries(cast(Kind, kind.removesuffix("s"))).values())
    order = (*GROUPS, "")
    chosen = [row for row in found if not family or row["family"] == family]
    return sorted(chosen, key=lambda row: order.index(row["family"]) if row["family"] in order else len(order))


def _columns(table: Sequence[Row]) -> list[str]:
    """Columns that say something: those that are not empty, and ``source`` only if there are third parties'."""
    names = [name for name in table[0] if any(row[name] for row in table)] if table else []
    return [name for name in names if name != "source" or any(row[name] != "built in" for row in table)]


def plain(table: Sequence[Row]) -> str:
    """Aligned columns without decoration, for pipes and files."""
    names = _columns(table)
    lines = [[name.upper() for name in names], *([row[name] for name in names] for row in table)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _pretty(table: Sequence[Row]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = _columns(table)
    out = Table(*names, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in table:
        style = "red" if row.get("problem") else ""
        out.add_row(*(Text(row[name], style=style) for name in names))  # Text: brackets in names are not markup
    Console().print(out)


def _complete(words: Sequence[str]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def command(
    kind: Annotated[str, typer.Argument(help="methods, suites, metrics or grids.", autocompletion=_complete(KINDS))],
    family: Annotated[str, typer.Option(help=", ".join(GROUPS) + ".", autocompletion=_complete(GROUPS))] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list instead of a table.")] = False,
) -> None:
    """List methods, suites, metrics or grids; nothing is imported, so broken plug-ins are listed with their problem.

    \b
    Examples:
      bench list methods
      bench list methods --family distilled
      bench list metrics --json
    """
    table = rows(kind, family)
    if as_json:
        typer.echo(json.dumps(table, indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        _pretty(table)
    elif table:
        typer.echo(plain(table))
