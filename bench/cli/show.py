"""``bench show``: everything that is known of one entry, read from its source and from records. Imports no torch."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import registry
from bench.cli import released
from bench.cli.list import plain
from bench.cli.results import Results, shipped, tables
from bench.cli.source import Parameter, grids, parameters
from bench.errors import OutputError, UsageError, unknown
from bench.info import Info, Paper
from bench.registry import Entry, Kind
from bench.spec import parse

KINDS: tuple[Kind, ...] = ("method", "suite", "metric")


def find(name: str, kind: str = "") -> Entry:
    """The entry with this name, of any kind unless one is given.

    Raises:
        UsageError: there is none, or there are several kinds to choose from.
    """
    if kind and kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    known = [registry.entries(each) for each in KINDS if kind in ("", each)]
    found = [entries[name] for entries in known if name in entries]
    if not found:
        raise unknown(kind or "entry", name, (key for entries in known for key in entries))
    if len(found) > 1:
        raise UsageError(f"{name!r} is a {' and a '.join(entry.kind for entry in found)}; choose one with --kind")
    return found[0]


def as_dict(entry: Entry, results: list[Results]) -> dict[str, Any]:
    """All that ``bench show`` shows, as JSON data."""
    info = entry.info or Info(summary="")
    card = released.checkpoint_of(entry)
    return {
        "kind": entry.kind,
        "name": entry.name,
        "family": info.family,
        "summary": info.summary,
        "description": entry.doc,
        "parameters": [asdict(parameter) for parameter in parameters(entry)],
        "papers": [{**asdict(paper), "bibtex": paper.bibtex} for paper in info.papers],
        "requires": list(info.requires),
        **({"checkpoint": released.as_dict(card)} if card else {}),
        "source": entry.source,
        "problem": entry.problem,
        "results": [asdict(table) for table in results],
    }


def _section(title: str, body: str) -> Iterator[str]:
    if body:
        yield f"\n{title}\n{textwrap.indent(body, '  ')}"


def _parameter_table(found: Iterable[Parameter]) -> str:
    return plain([asdict(parameter) | {"default": parameter.default or "required"} for parameter in found])


def _paper(paper: Paper) -> str:
    where = [f"arXiv {paper.arxiv}" if paper.arxiv else "", paper.equation, f"code: {paper.code}" if paper.code else ""]
    authors = paper.authors.replace(" and ", ", ")
    return f"{authors}: {paper.title}. {paper.year}. {', '.join(filter(None, where))}"


def _result_table(table: Results) -> str:
    rows = [
        {"metric": label, **{f"nfe={nfe}": values.get(nfe, "") for nfe in table.nfe}}
        for label, values in table.values.items()
    ]
    return f"{table.title}\n{textwrap.indent(plain(rows), '  ')}" if rows else table.title


def as_text(entry: Entry, results: list[Results]) -> str:
    """The page for a reader."""
    info = entry.info or Info(summary="")
    head = ", ".join(filter(None, (entry.kind, info.family, entry.source)))
    lines = [f"{entry.name} ({head})", *([info.summary] if info.summary else [])]
    lines += _section("Problem", entry.problem)
    lines += _section("Description", entry.doc)
    lines += _section("Parameters", _parameter_table(parameters(entry)))
    card = released.checkpoint_of(entry)
    lines += _section("Checkpoint", released.as_text(card) if card else "")
    lines += _section("Papers", "\n".join(map(_paper, info.papers)))
    lines += _section("BibTeX", "\n".join(paper.bibtex for paper in info.papers))
    lines += _section("Requires", ", ".join(info.requires))
    lines += _section("Results", "\n".join(map(_result_table, results)))
    return "\n".join(lines)


def _show_grid(name: str, as_json: bool) -> None:
    summary, params = grids()[name]
    if as_json:
        grid = {"kind": "grid", "name": name, "summary": summary, "parameters": [asdict(each) for each in params]}
        typer.echo(json.dumps(grid, indent=2, ensure_ascii=False))
        return
    typer.echo("\n".join([f"{name} (grid)", summary, *_section("Parameters", _parameter_table(params))]))


def complete_name(incomplete: str) -> list[tuple[str, str]]:
    """Registered names with their summaries, for shell completion."""
    found = [entry for kind in KINDS for entry in registry.entries(kind).values()]
    return [(e.name, e.info.summary if e.info else "") for e in found if e.name.startswith(incomplete)]


def command(
    name: Annotated[
        str, typer.Argument(help="A method, suite, metric or grid.", autocompletion=complete_name, show_default=False)
    ],
    kind: Annotated[str, typer.Option(help="method, suite or metric, where a name is ambiguous.")] = "",
    results: Annotated[
        Path | None, typer.Option(help="Directory with records; the shipped results by default.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
) -> None:
    """Show one entry: equation, parameters with defaults, papers with BibTeX, requirements, results.

    \b
    Examples:
      bench show ddim
      bench show dpm_solver_pp --json
      bench show sdxl_lightning
      bench show digits --results runs/today
    """
    if results is not None and not results.is_dir():
        raise OutputError(f"{results} is not a directory; give one that bench run has written")
    name = parse(name).name
    if not kind and name in grids():
        _show_grid(name, as_json)
        return
    entry = find(name, kind)
    found = tables(results or shipped(), entry.kind, entry.name)
    typer.echo(json.dumps(as_dict(entry, found), indent=2, ensure_ascii=False) if as_json else as_text(entry, found))
