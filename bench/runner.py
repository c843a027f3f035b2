"""A run: plan, compute what is missing, write each record before its worker starts anything new, report.

::

    plan --> store (locked) --> verdicts --> reference solutions --> quality cells --> latency cells --> report
                  ^                                                  many workers      one worker
                  |__________________ records, written by this process only __________________|

Killing this process at any point loses the cells in flight and nothing else: the same request computes what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bench.errors import BenchError, ExitCode
from bench.options import Options
from bench.plan import make_plan
from bench.progress import display
from bench.record import FAILURES, Record, Status
from bench.report.numbers import counted
from bench.request import Request
from bench.session import Session
from bench.store import Store

if TYPE_CHECKING:
    from bench.report import Report


class Interrupted(BenchError):
    """The user stopped the run."""

    exit_code = ExitCode.INTERRUPTED


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Attributes:
        statuses: of all requested cells.
        computed: cells that were computed now.
        kept: failures of an earlier run that were not tried again.
        failed: requested cells that ended in failure, now or before.
        report: the tables and figures, unless none were wanted.
    """

    out: Path
    statuses: Counter[Status]
    computed: int
    kept: int
    failed: list[Record]
    report: Report | None

    @classmethod
    def of(cls, session: Session, report: Report | None = None) -> Summary:
        """The summary of a session that has ended: every requested cell has a record by now."""
        records = [session.records[planned.cell.id] for planned in session.plan.cells]
        return cls(
            out=session.store.out,
            statuses=Counter(record.status for record in records),
            computed=len(session.todo),
            kept=session.kept,
            failed=[record for record in records if record.status in FAILURES],
            report=report,
        )

    @property
    def exit_code(self) -> ExitCode:
        """Success only if no requested cell is a failure."""
        return ExitCode.CELL_FAILED if self.failed else ExitCode.OK

    def lines(self) -> Iterator[str]:
        """What the user should know, in a few lines."""
        counts = ", ".join(f"{count} {status.value}" for status, count in sorted(self.statuses.items()))
        total = sum(self.statuses.values())
        cells = counted(total, "cell")
        yield f"{cells}: {counts}; {self.computed} computed now, {total - self.computed} already in {self.out}"
        for record in self.failed:
            yield f"  {record.status.value}: {record.cell}: {record.reason}"
        if self.kept:
            were, them = ("was", "it") if self.kept == 1 else ("were", "them")
            failures = counted(self.kept, "failure")
            yield f"{failures} of an earlier run {were} kept; --retry-failed computes {them} again"


def run(request: Request, options: Options, stream: TextIO | None = None) -> Summary:
    """Run a request until every cell has its record.

    Args:
        request, options: what, and how.
        stream: where progress is shown; stdout if None.

    Raises:
        UsageError, DeviceError, AssetError: as ``make_plan``; nothing has been started.
        OutputError: the folder cannot be written to, is full, in use, or holds records that cannot be read.
        Interrupted: the user stopped it; what is done is kept.
    """
    options.check(request.device)
    plan = make_plan(request)
    with Store(options.out) as store:
        session = Session(plan, request, options, store)
        if session.todo:
            shown = display(len(session.todo), stream)
            try:
                session.compute(shown)
            except KeyboardInterrupt as error:
                raise Interrupted(
                    f"stopped after {session.done} of {len(session.todo)} cells, which are kept in {options.out}; "
                    "the same command computes the rest"
                ) from error
            finally:
                shown.close()
        if options.report:
            from bench.report import write_report

            return Summary.of(session, write_report(options.out))
    return Summary.of(session)
