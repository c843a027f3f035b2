"""The same tables as Markdown and as LaTeX (booktabs)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.report.texttable import TextTable

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    "…": r"\ldots{}",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "±": r"$\pm$",
    "σ": r"$\sigma$",
    "\u202f": r"\,",
}


def latex_text(text: str) -> str:
    """Text with what LaTeX would take for itself escaped; what pdfLaTeX has no letter for becomes a question mark."""
    escaped = "".join(_LATEX.get(char, char) for char in text)
    return "".join(char if ord(char) < 256 else "?" for char in escaped)


def _latex_cell(text: str, bold: bool) -> str:
    """Intervals small, footnote marks raised."""
    body = re.sub(r"(?:\s*\[(\d+)\])+$", "", text)
    marks = ",".join(re.findall(r"\[(\d+)\]", text[len(body) :]))
    value, bracket, interval = body.partition(" [")
    shown = latex_text(value)
    if bold:
        shown = rf"\textbf{{{shown}}}"
    if bracket and re.match(r"[-\d.]", interval):
        shown += rf" {{\scriptsize[{latex_text(interval)}}}"
    elif bracket:
        shown = latex_text(body)
    return shown + (rf"\textsuperscript{{{marks}}}" if marks else "")


def latex(table: TextTable) -> str:
    r"""A ``table`` environment; the preamble needs ``\usepackage{booktabs}`` and a T1 font encoding."""
    width = len(table.headers)
    lines = [r"\begin{table}", r"\centering\small", rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}", r"\toprule"]
    lines += [" & ".join(map(latex_text, table.headers)) + r" \\", r"\midrule"]
    for i, row in enumerate(table.rows):
        cells = [rf"\texttt{{{latex_text(row[0])}}}"]
        cells += [_latex_cell(cell, (i, column) in table.best) for column, cell in enumerate(row) if column > 0]
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [rf"\textsuperscript{{{i}}} {latex_text(note)}." for i, note in enumerate(table.notes, start=1)]
    caption = [latex_text(table.title) + ".", *notes, *map(latex_text, table.footer)]
    return "\n".join([*lines, rf"\caption{{{' '.join(caption)}}}", r"\end{table}", ""])


def _escape(cell: str) -> str:
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", cell)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def markdown(table: TextTable) -> str:
    """A heading, a table, its notes and where it comes from."""
    text_columns = [i for i, header in enumerate(table.headers) if header == "method"]
    rules = [":--" if i in text_columns else "--:" for i in range(len(table.headers))]
    lines = [
        f"### {_escape(table.title)}",
        "",
        _markdown_row([_escape(h) for h in table.headers]),
        _markdown_row(rules),
    ]
    for i, row in enumerate(table.rows):
        cells = [f"**{_escape(c)}**" if (i, column) in table.best else _escape(c) for column, c in enumerate(row)]
        lines.append(_markdown_row(cells))
    lines.append("")
    lines += [f"\\[{i}\\] {_escape(note)}  " for i, note in enumerate(table.notes, start=1)]
    if table.notes:
        lines.append("")
    return "\n".join([*lines, *(f"{_escape(line)}  " for line in table.footer), ""])
