"""Ranked tables in the terminal: columns that do not fit are left out, the least important ones first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.report.load import Results
from bench.report.numbers import MISSING
from bench.report.sections import Section
from bench.report.texttable import TextTable, ranked_table

if TYPE_CHECKING:
    from rich.console import Console

FILE_WIDTH = 140  # characters, where the output is not a terminal
_PADDING = 3  # characters between columns, as rich sets them
_NAME = 28  # characters that a method's name may take before it is folded, where room is short
_KEPT = ("rank", "method")


def _widths(table: TextTable) -> list[int]:
    return [max(map(len, column)) for column in zip(table.headers, *table.rows, strict=True)]


def _total(widths: Sequence[int], headers: Sequence[str]) -> int:
    cut = (min(width, _NAME) if header == "method" else width for width, header in zip(widths, headers, strict=True))
    return sum(cut) + _PADDING * len(widths)


def fit(table: TextTable, width: int, first: int = 0) -> TextTable:
    """The table without the columns that do not fit, dropped from the right, those from ``first`` to its left last.

    Args:
        width: characters.
        first: how many columns after rank and method are never dropped.
    """
    keep = list(range(len(table.headers)))
    fixed = sum(header in _KEPT for header in table.headers) + first
    widths = _widths(table)
    while len(keep) > fixed and _total([widths[i] for i in keep], [table.headers[i] for i in keep]) > width:
        keep.pop()
    if len(keep) == len(table.headers):
        return table
    rows = [[row[i] for i in keep] for row in table.rows]
    best = {(row, keep.index(column)) for row, column in table.best if column in keep}
    left_out = ", ".join(table.headers[i] for i in range(len(table.headers)) if i not in keep)
    footer = [*table.footer, f"Not shown here for want of room, but in table.md: {left_out}."]
    return TextTable(table.title, [table.headers[i] for i in keep], rows, best, table.notes, footer)


def show_table(table: TextTable, console: Console) -> None:
    """Print one table and its notes."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console.print(Text(table.title, style="italic"))  # a title of the table's own would be folded at its width
    out = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for header in table.headers:
        is_name = header == "method"
        out.add_column(Text(header), justify="left" if is_name else "right", overflow="fold", no_wrap=not is_name)
    for i, row in enumerate(table.rows):
        cells = [Text(cell, style="bold" if (i, column) in table.best else "") for column, cell in enumerate(row)]
        out.add_row(*cells, style="dim" if row[0] == MISSING else "")
    console.print(out)
    for i, note in enumerate(table.notes, start=1):
        console.print(Text(f"[{i}] {note}", style="dim"))


def _by_importance(table: TextTable, metrics: int) -> TextTable:
    """Rank, method, ranking metric, latency, fitting; the metrics that do not rank go last."""
    order = [i for i in range(len(table.headers)) if not 3 <= i < 2 + metrics] + list(range(3, 2 + metrics))
    rows = [[row[i] for i in order] for row in table.rows]
    return TextTable(table.title, [table.headers[i] for i in order], rows, table.best, table.notes, table.footer)


def show(sections: Sequence[Section], results: Results, console: Console) -> None:
    """Print ranked tables, one per budget, and below each suite where its numbers come from."""
    from rich.text import Text

    for section in sections:
        footer: list[str] = []
        for nfe in section.nfe:
            table = _by_importance(ranked_table(section, nfe, results), len(section.metrics))
            table = fit(table, console.width, first=1)
            show_table(table, console)
            footer = table.footer
        console.print(Text("\n".join(footer), style="dim"))
