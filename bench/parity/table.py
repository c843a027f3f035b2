"""The parity table: every case run at its budgets, as rows of data and of text.

What came of a case is its status: ``equal`` within the tolerance, ``differs`` as its verdict explains, ``missing`` when
the package or the recording is not here, or ``FAILED``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.errors import unknown
from bench.parity.case import NFES, PACKAGES, TOLERANCE, Case, Unavailable
from bench.parity.compare import difference, ours
from bench.parity.external import version
from bench.parity.found import cases, modules
from bench.parity.recorded import commit, load, reference

Checkouts = Mapping[str, Path]
Status = Literal["equal", "differs", "missing", "FAILED"]
ROUND_OFF = 1e-12


@dataclass(frozen=True)
class Row:
    """One case, compared.

    Attributes:
        module: the solver whose case it is.
        source: the package with its version, or the repository with the commit.
        gaps: the largest difference at each budget.
        missing: why the reference could not be had, or empty.
        problem: what was raised, or which tolerance is exceeded, or empty.
    """

    module: str
    case: Case
    source: str
    gaps: Mapping[int, float] = field(default_factory=dict)
    missing: str = ""
    problem: str = ""

    @property
    def status(self) -> Status:
        """What came of it."""
        if self.problem:
            return "FAILED"
        if self.missing:
            return "missing"
        return "equal" if self.case.tolerance is not None else "differs"

    @property
    def worst(self) -> float:
        """The largest difference at any budget; NaN if there is none."""
        return max(self.gaps.values(), default=math.nan)


def _source(module: str, case: Case, checkouts: Checkouts) -> str:
    if case.against in PACKAGES:
        return f"{case.against} {version(case.against)}"
    if case.against in checkouts:
        return f"{case.against}@{commit(checkouts[case.against])[:7]}"
    recording = load(module).get(case.key)
    return f"{case.against}@{recording.commit[:7]}" if recording else case.against


def _problem(case: Case, gaps: Mapping[int, float]) -> str:
    """Where a case is not what it claims to be."""
    if case.tolerance is None:
        return "" if max(gaps.values()) > TOLERANCE else f"is said to differ and does not, by more than {TOLERANCE:.0e}"
    over = [f"{gap:.1e} at nfe={nfe}" for nfe, gap in gaps.items() if not gap <= case.tolerance]
    return f"differs by {', '.join(over)}; the tolerance is {case.tolerance:.0e}" if over else ""


def compare(module: str, case: Case, checkouts: Checkouts) -> Row:
    """One case at all its budgets."""
    source = _source(module, case, checkouts)
    gaps: dict[int, float] = {}
    for nfe in case.nfes:
        try:
            gaps[nfe] = difference(ours(case, nfe), reference(module, case, nfe, checkouts.get(case.against)))
        except Unavailable as error:
            return Row(module, case, source, gaps, missing=str(error))
        except Exception as error:  # somebody else's code may raise anything
            return Row(module, case, source, gaps, problem=f"{type(error).__name__} at nfe={nfe}: {error}")
    return Row(module, case, source, gaps, problem=_problem(case, gaps))


def select(names: Sequence[str], checkouts: Checkouts) -> list[tuple[str, Case]]:
    """The cases of these solvers, of all if none is named.

    Raises:
        UsageError: a solver without cases, or a checkout of a repository that no case is against.
    """
    chosen = [(module, case) for module in (names or modules()) for case in cases(module)]
    repositories = {case.against for _, case in chosen} - set(PACKAGES)
    for name in checkouts:
        if name not in repositories:
            raise unknown("repository", name, repositories)
    return chosen


def rows(chosen: Sequence[tuple[str, Case]], checkouts: Checkouts, tell: Callable[[str], None]) -> list[Row]:
    """All comparisons; ``tell`` is told the key of each before it begins."""
    found = []
    for module, case in chosen:
        tell(case.key)
        found.append(compare(module, case, checkouts))
    return found


def number(gap: float) -> str:
    """A difference as text: one digit, and no more than round-off says."""
    return "<1e-12" if gap < ROUND_OFF else f"{gap:.0e}"


def cells(row: Row) -> dict[str, str]:
    """The differences at ``NFES`` as text, a dash where the two are not both defined, and the largest at any budget."""
    found = {str(nfe): number(row.gaps[nfe]) if nfe in row.gaps else "-" for nfe in NFES}
    return {**found, "largest": number(row.worst) if row.gaps else "-"}


def note(row: Row) -> str:
    """What a reader must know of a row, or empty."""
    return row.problem or row.missing or row.case.verdict


def summary(table: Sequence[Row]) -> str:
    """How many cases came out how, and how many solvers they are of."""
    solvers = len({row.module for row in table if row.status in ("equal", "differs")})
    words: tuple[tuple[Status, str], ...] = (
        ("equal", "equal"), ("differs", "known to differ"), ("missing", "missing"), ("FAILED", "FAILED"),
    )  # fmt: skip
    counts = [(sum(row.status == status for row in table), text) for status, text in words]
    return f"{solvers} solver{'s' * (solvers != 1)}; " + ", ".join(f"{count} {text}" for count, text in counts if count)
