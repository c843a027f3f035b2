"""Tables of text: what Markdown, LaTeX and the terminal all show."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.record import Status
from bench.report.load import Results
from bench.report.numbers import MISSING, count, milliseconds, plain, with_interval
from bench.report.point import Point
from bench.report.provenance import lines, seeds
from bench.report.ranking import Row, ranked, reasons
from bench.report.sections import Section


@dataclass
class TextTable:
    """Headers and rows of text, with numbered notes.

    Attributes:
        title: what the table holds, in a few words.
        best: (row, column) of cells that hold a first rank.
        notes: footnotes; ``[1]`` in a cell is the first.
        footer: where the numbers come from.
    """

    title: str
    headers: list[str]
    rows: list[list[str]] = field(default_factory=list)
    best: set[tuple[int, int]] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    footer: list[str] = field(default_factory=list)

    def note(self, text: str) -> str:
        """The mark of a footnote; the same text has the same mark."""
        if text not in self.notes:
            self.notes.append(text)
        return f"[{self.notes.index(text) + 1}]"


def _marks(table: TextTable, point: Point, wanted: int) -> str:
    """Marks of what a reader must know of a point."""
    texts = [] if point.status is not Status.OK else reasons(point)  # of the seeds that are missing
    if point.ok and len(point.ok) != wanted:
        texts.append(f"mean over {len(point.ok)} of {wanted} seeds")
    used = {record.nfe for record in point.ok if record.nfe is not None}
    if used and used != {point.nfe}:
        texts.append(f"used {max(used)} of {point.nfe} evaluations")
    texts += [note for record in point.ok for note in record.notes]
    extra = {record.network_evals for record in point.ok if record.network_evals is not None}
    if extra and extra != {float(point.nfe)} and used and extra != {float(max(used))}:
        texts.append(f"{plain(max(extra))} network evaluations per sample")
    return "".join(" " + table.note(text) for text in texts)


def _value(table: TextTable, point: Point | None, metric: str, wanted: int) -> str:
    if point is None:
        return MISSING
    if point.status is not Status.OK:
        return f"{point.status} {''.join(table.note(reason) for reason in reasons(point))}"
    return _measured(table, point, metric) + _marks(table, point, wanted)


def _measured(table: TextTable, point: Point, metric: str) -> str:
    """A number with its interval, or a dash with the reason why there is none."""
    gaps = dict.fromkeys(record.missing[metric] for record in point.ok if metric in record.missing)
    return with_interval(point.value(metric)) + "".join(f" {table.note(gap)}" for gap in gaps)


def _latency_headers(batches: list[int]) -> list[str]:
    return [*(f"ms b={batch}" for batch in batches), *([f"img/s b={batches[-1]}"] if batches else [])]


def _latency_cells(point: Point, batches: list[int]) -> list[str]:
    if not batches:
        return []
    found = [point.latency.get(batch) for batch in batches]
    last = found[-1]
    rate = last.images_per_second if last else None
    return [*(milliseconds(entry.p50 if entry else None) for entry in found), plain(rate)]


def batches(section: Section) -> list[int]:
    """Batch sizes of the section's one latency protocol; empty if there is none, or more than one."""
    return sorted({batch for point in section.points for batch in point.latency})


def _ranked_cells(table: TextTable, section: Section, row: Row) -> list[str]:
    point, wanted = row.point, len(seeds(section))
    fit = point.fit
    return [
        MISSING if row.rank is None else str(row.rank),
        point.method,
        _value(table, point, section.metric, wanted),
        *(_measured(table, point, metric) for metric in section.metrics[1:]),
        *_latency_cells(point, batches(section)),
        *([count(fit.fit_evals if fit else None), plain(fit.fit_seconds if fit else None)] if _fitted(section) else []),
    ]


def _fitted(section: Section) -> bool:
    return any(point.fit is not None for point in section.points)


def ranked_table(section: Section, nfe: int, results: Results) -> TextTable:
    """Methods at one budget, best first."""
    headers = ["rank", "method", *(section.label(metric) for metric in section.metrics)]
    headers += _latency_headers(batches(section)) + (["fit evals", "fit s"] if _fitted(section) else [])
    evaluations = "1 evaluation" if nfe == 1 else f"{nfe} evaluations"
    table = TextTable(f"{section.heading}, {evaluations}, by {section.label(section.metric)}", headers)
    for i, row in enumerate(ranked(section, nfe, results)):
        table.rows.append(_ranked_cells(table, section, row))
        if row.rank == 1:
            table.best |= {(i, 0), (i, 2)}
    table.footer = lines(section, section.metrics, latency=bool(batches(section)))
    return table


def summary_table(section: Section, metric: str, results: Results) -> TextTable:
    """Methods against budgets for one metric; first ranks are marked where it is the metric that ranks."""
    table = TextTable(f"{section.heading}, {section.label(metric)}", ["method", *(f"NFE {nfe}" for nfe in section.nfe)])
    wanted = len(seeds(section))
    for method in section.methods:
        points = [section.at(method, nfe) for nfe in section.nfe]
        table.rows.append([method, *(_value(table, point, metric, wanted) for point in points)])
    is_ranking = metric == section.metric
    if is_ranking:
        for column, nfe in enumerate(section.nfe, start=1):
            best = {row.point.method for row in ranked(section, nfe, results) if row.rank == 1}
            table.best |= {(i, column) for i, method in enumerate(section.methods) if method in best}
    table.footer = lines(section, (metric,), latency=False, ranks=is_ranking)
    return table
