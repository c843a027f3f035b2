"""Records in the groups in which they may be compared.

::

    records --> Section (suite, its revision, n, first metric id) --> Point (method, NFE) --> records, one per seed

What stands in one section shares teacher, number of samples and the definition of the first metric, which ranks, or the
first that has a number if that one has none; nothing is ranked across sections. Where a method was measured again after
its code or its artifact changed, the newest stands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.record import Measured, Record, Status
from bench.registry import GROUPS
from bench.report.point import OTHER, Point, family


@dataclass(frozen=True)
class Section:
    """What may be ranked together.

    Attributes:
        metrics: ids, the ranking one first.
        passed: ids that were to rank before that one, and have no number here.
        points: by method and NFE.
        protocols: ids of the latency protocols measured on this suite.
        superseded: how many records of older revisions or artifacts were left out.
    """

    suite: str
    revision: str
    samples: int
    metrics: tuple[str, ...]
    passed: tuple[str, ...]
    points: tuple[Point, ...]
    protocols: tuple[str, ...]
    superseded: int

    @property
    def metric(self) -> str:
        """The id of the metric that ranks."""
        return self.metrics[0]

    @property
    def heading(self) -> str:
        """The suite as a heading bears it: a long spec is cut, and its revision says which it is."""
        return heading(self.suite, self.revision)

    @property
    def nfe(self) -> list[int]:
        """The budgets, ascending."""
        return sorted({point.nfe for point in self.points})

    @property
    def methods(self) -> list[str]:
        """Names by family, then alphabetically."""
        order = (*GROUPS, OTHER)
        return sorted({p.method for p in self.points}, key=lambda name: (order.index(self.family(name)), name))

    def family(self, method: str) -> str:
        """The family of a name in this section."""
        return next(point.family for point in self.points if point.method == method)

    def at(self, method: str, nfe: int) -> Point | None:
        """One point; None if it was not asked for."""
        return next((point for point in self.points if point.method == method and point.nfe == nfe), None)

    def sample(self, metric: str) -> Measured | None:
        """Any value of a metric, for its label and direction."""
        found = (record.metrics.get(metric) for point in self.points for record in point.ok)
        return next((value for value in found if value is not None), None)

    def label(self, metric: str) -> str:
        """A metric's name for columns and axes; its id where two share a name."""
        others = [self._name(other) for other in self.metrics if other != metric]
        return metric if self._name(metric) in others else self._name(metric)

    def _name(self, metric: str) -> str:
        """Its label; without a number, which would bring one, the spec by which it was asked for."""
        mine = self.sample(metric)
        return mine.label if mine else metric.partition(":")[0]

    def gaps(self, metric: str) -> list[str]:
        """Why a metric has no number, each reason once."""
        found = (record.missing.get(metric) for point in self.points for record in point.ok)
        return list(dict.fromkeys(sentence for sentence in found if sentence))


HEADING = 60  # characters


def heading(suite: str, revision: str) -> str:
    """A suite's spec, or its beginning and its revision where it is longer than ``HEADING`` characters."""
    return suite if len(suite) <= HEADING else f"{suite[: HEADING - 10]}…@{revision[:8]}"


def _newest(records: Iterable[Record]) -> tuple[list[Record], int]:
    """Records of the newest revision and artifact, one per seed; and how many were left out."""
    ordered = sorted(records, key=lambda record: (record.created, record.id), reverse=True)
    newest = ordered[0].cell
    kept: dict[int, Record] = {}
    for record in ordered:
        cell = record.cell
        if (cell.method_revision, cell.artifact) == (newest.method_revision, newest.artifact):
            kept.setdefault(cell.seed, record)
    result = sorted(kept.values(), key=lambda record: (record.status is not Status.OK, record.cell.seed))
    return result, len(ordered) - len(result)


_Identity = tuple[str, str, str]  # method, dtype, device


def _identity(record: Record) -> _Identity:
    return record.cell.method, record.cell.dtype, record.cell.device


def _names(identities: Iterable[_Identity]) -> dict[_Identity, str]:
    """Names on the board; dtype and device are named only where they differ within the section."""
    found = sorted(set(identities))
    vary = [len({identity[i] for identity in found}) > 1 for i in range(3)]
    return {identity: " ".join([identity[0], *(f"({identity[i]})" for i in (1, 2) if vary[i])]) for identity in found}


def _latency(records: Iterable[Record]) -> dict[str, dict[tuple[_Identity, int], Record]]:
    """Newest latency records by protocol id, method and NFE."""
    found: dict[str, dict[tuple[_Identity, int], Record]] = defaultdict(dict)
    for record in sorted(records, key=lambda record: (record.created, record.id)):
        if record.latency:
            found[record.cell.metrics[0]][_identity(record), record.cell.nfe] = record
    return dict(found)


def _metrics(records: Sequence[Record]) -> tuple[str, ...]:
    """Metric ids of all cells in the order of their declaration, the shared first one first."""
    return tuple(dict.fromkeys(metric for record in records for metric in record.cell.metrics))


def _by_rank(metrics: tuple[str, ...], points: Iterable[Point]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids with the first that has a number in front, and those that stood before it; as they are if none has."""
    measured = {metric for point in points for record in point.ok for metric in record.metrics}
    place = next((i for i, metric in enumerate(metrics) if metric in measured), 0)
    return (metrics[place], *metrics[:place], *metrics[place + 1 :]), metrics[:place]


def _section(records: Sequence[Record], timings: Mapping[str, Mapping[tuple[_Identity, int], Record]]) -> Section:
    groups: dict[tuple[_Identity, int], list[Record]] = defaultdict(list)
    for record in records:
        groups[_identity(record), record.cell.nfe].append(record)
    names = _names(identity for identity, _ in groups)
    only = next(iter(timings.values())) if len(timings) == 1 else {}
    points, superseded = [], 0
    for (identity, nfe), group in groups.items():
        kept, left_out = _newest(group)
        superseded += left_out
        timed = only.get((identity, nfe))
        latency = {entry.batch: entry for entry in timed.latency} if timed else {}
        points.append(Point(names[identity], family(identity[0]), nfe, tuple(kept), latency))
    cell = records[0].cell
    metrics, passed = _by_rank(_metrics([record for point in points for record in point.records]), points)
    return Section(
        suite=cell.suite,
        revision=cell.suite_revision,
        samples=cell.samples,
        metrics=metrics,
        passed=passed,
        points=tuple(sorted(points, key=lambda point: (point.method, point.nfe))),
        protocols=tuple(sorted(timings)),
        superseded=superseded,
    )


def sections(records: Iterable[Record]) -> list[Section]:
    """Group records; latency cells join the sections of their suite."""
    quality: dict[tuple[str, str, int, str], list[Record]] = defaultdict(list)
    timed: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.id):
        cell = record.cell
        if cell.is_latency:
            timed[cell.suite, cell.suite_revision].append(record)
        elif cell.metrics:
            quality[cell.suite, cell.suite_revision, cell.samples, cell.metrics[0]].append(record)
    return [_section(group, _latency(timed[key[0], key[1]])) for key, group in sorted(quality.items())]
