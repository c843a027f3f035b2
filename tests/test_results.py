"""The reference results that are shipped: whole, complete, and what the README says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.record import Record, Status
from bench.registry import entries
from bench.spec import parse
from bench.store import current, read_records

SHIPPED = ("ok", "unsupported")


@pytest.fixture(scope="module")
def records(root: Path) -> list[Record]:
    return current(read_records(root / "results" / "digits").values())


def fd(records: list[Record], family: str, nfe: int) -> dict[str, float]:
    """FD by method, for the methods of a family at a budget."""
    known = entries("method")
    found = {}
    for record in records:
        info = known[parse(record.cell.method).name].info
        if info is not None and info.family == family and record.cell.nfe == nfe and record.metrics:
            found[record.cell.method] = next(m.value for i, m in record.metrics.items() if i.startswith("fd:"))
    return found


def test_every_method_has_a_record_for_each_budget_and_none_failed(records: list[Record]) -> None:
    assert {record.status.value for record in records} <= set(SHIPPED)
    done = {(parse(record.cell.method).name, record.cell.nfe) for record in records if not record.cell.is_latency}
    assert done >= {(name, nfe) for name in entries("method") for nfe in (1, 2, 4)}


def test_every_number_has_an_interval_and_a_counted_budget(records: list[Record]) -> None:
    scored = [record for record in records if record.status is Status.OK and record.metrics]
    assert scored
    for record in scored:
        assert record.nfe == record.cell.nfe and record.network_evals == record.nfe
        for measured in record.metrics.values():
            assert measured.low is not None and measured.high is not None
            rounding = 1e-9 * abs(measured.value)
            assert measured.low - rounding <= measured.value <= measured.high + rounding and measured.interval


def test_every_student_beats_the_best_training_free_solver_at_one_evaluation_four_times(records: list[Record]) -> None:
    best = min(fd(records, "solvers", 1).values())
    students = fd(records, "distilled", 1)
    assert set(students) >= {"consistency", "progressive", "reflow"}
    assert all(4 * value <= best for value in students.values())


def test_the_table_of_the_readme_is_the_reports(root: Path) -> None:
    """Row by row; only Markdown's escapes, code marks and the reasons of what is not supported differ."""

    def rows(path: Path) -> list[list[str]]:
        text = path.read_text(encoding="utf-8").replace("\\", "").replace("`", "")
        lines = text.split("| method | NFE 1", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        return [["–" if cell.startswith("unsupported") else cell for cell in row] for row in cells]

    report = rows(root / "results" / "digits" / "report" / "table.md")
    assert len(report) >= len(entries("method"))
    assert rows(root / "README.md") == report
