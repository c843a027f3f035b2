"""The parity table as the Markdown page that ``docs/`` has, and as JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

from bench.parity.case import NFES
from bench.parity.table import Row, cells, note, number, summary

INTRODUCTION = """\
# Parity

Each solver here beside other public implementations of the same name, number by number. Written by
`bench parity --write docs/parity.md`; do not edit.

The problem is a two-dimensional Gaussian mixture whose denoiser is a closed form, in double precision: eight initial
states, levels from 10 down to 0.02, the same noise on both sides: what is compared is the solver alone. A number is the
largest absolute difference of any coordinate of any final state, at that number of evaluations; the data lie within
about 2 of the origin. Below 1e-12 it is round-off and is written so; near 1e-7 one of the two computes in single
precision. A dash stands where one of the two is not defined, and the last column is the largest at any budget tried,
which for two evaluations per step are others too.

Packages run as installed. Authors' code is not shipped: its results are recorded with the commit they are from, and
`bench parity NAME --checkout owner/name=PATH` runs it again. *differs* means that the two are known not to agree; the
note says whose fault that is, if it is one, and how both behaviours are reached.
"""


def _code(text: str) -> str:
    """A code span in a table, where a vertical line would end the cell."""
    return "`" + text.replace("|", "\\|") + "`"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _table(headers: Sequence[str], lines: Iterable[Sequence[str]], left: int) -> list[str]:
    """The lines of a table whose first ``left`` columns are text and whose others are numbers."""
    rule = ["---" if i < left else "---:" for i in range(len(headers))]
    return [_line(headers), _line(rule), *map(_line, lines), ""]


def _overview(table: Sequence[Row]) -> list[str]:
    lines = []
    for module, group in itertools.groupby(table, lambda row: row.module):
        found = list(group)
        sources = sorted({row.source for row in found if row.gaps})
        equal = [row for row in found if row.status == "equal"]
        differ = sum(row.status == "differs" for row in found)
        worst = number(max(row.worst for row in equal)) if equal else "-"
        link = f"[{module}](#{module})"
        lines.append((link, ", ".join(sources) or "none here", str(len(equal)), worst, str(differ)))
    headers = ("solver", "references", "equal", "largest difference", "known to differ")
    return [f"{summary(table)}.", "", *_table(headers, lines, left=2)]


def _section(module: str, table: Sequence[Row]) -> list[str]:
    notes: list[str] = []
    lines = []
    for row in table:
        text = note(row)
        if text and text not in notes:
            notes.append(text)
        mark = f" [{notes.index(text) + 1}]" if text else ""
        names = (row.source, _code(row.case.what), _code(row.case.solver), row.status + mark)
        lines.append((*names, *cells(row).values()))
    headers = ("reference", "theirs", "ours", "", *map(str, NFES), "largest")
    remarks = [f"{number}. {text}" for number, text in enumerate(notes, 1)]
    return [f"## {module}", "", *_table(headers, lines, left=4), *remarks, *([""] if remarks else [])]


def markdown(table: Sequence[Row]) -> str:
    """The whole page; rows of one solver stand together."""
    parts = [INTRODUCTION, *_overview(table)]
    for module, group in itertools.groupby(table, lambda row: row.module):
        parts += _section(module, list(group))
    return "\n".join(parts).rstrip() + "\n"


def as_json(table: Sequence[Row]) -> str:
    """One JSON list with a row for each case; a difference that is not finite is null."""
    rows: list[dict[str, Any]] = [
        {
            "solver": row.module,
            "ours": row.case.solver,
            "reference": row.source,
            "theirs": row.case.what,
            "status": row.status,
            "differences": {str(nfe): gap if gap < float("inf") else None for nfe, gap in row.gaps.items()},
            "tolerance": row.case.tolerance,
            "verdict": row.case.verdict,
            "reason": row.problem or row.missing,
        }
        for row in table
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False)
