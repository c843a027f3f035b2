"""The reference results that are shipped: whole, complete, and what the README says of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from bench.record import Record, Status
from bench.registry import entries, methods_of
from bench.spec import parse
from bench.store import current, read_records

SHIPPED = ("ok", "unsupported")
TRAINING_FREE = ("solvers", "calibrated")


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
    assert done >= {(name, nfe) for name in methods_of("all") for nfe in (1, 2, 4)}


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


def rows(path: Path) -> dict[str, dict[str, str]]:
    """The first table of a page, by method and column; Markdown's escapes, code marks and reasons are left out."""
    text = path.read_text(encoding="utf-8").replace("\\", "").replace("`", "")
    lines = ("method | NFE 1" + text.split("| method | NFE 1", 1)[1].split("\n\n", 1)[0]).splitlines()
    head = [cell.strip() for cell in lines[0].strip("|").split("|")]
    found = {}
    for line in lines[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        values = ["–" if cell.startswith("unsupported") else cell for cell in cells[1:]]
        found[cells[0]] = dict(zip(head[1:], values, strict=True))
    return found


def test_the_table_of_the_readme_is_the_reports(root: Path) -> None:
    """Every cell of its selection of methods and budgets; the report has all of them."""
    report, shown = rows(root / "results" / "digits" / "report" / "table.md"), rows(root / "README.md")
    assert set(methods_of("all")) <= {parse(method).name for method in report}
    assert len(shown) >= 15
    for method, row in shown.items():
        assert row == {budget: report[method][budget] for budget in row}


@pytest.mark.parametrize("suite", ["digits", "mixture"])
def test_every_solver_was_run_at_few_evaluations_on_both_suites(root: Path, suite: str) -> None:
    found = current(read_records(root / "results" / suite).values())
    done = {(parse(record.cell.method).name, record.cell.nfe) for record in found if not record.cell.is_latency}
    known = {name for name, entry in entries("method").items() if entry.info and entry.info.family in TRAINING_FREE}
    assert len(known) >= 45
    assert done >= {(name, nfe) for name in known for nfe in (1, 2, 3, 4, 8)}
    assert {record.status.value for record in found} <= set(SHIPPED)


def test_the_tables_of_the_guide_are_made_from_the_results(root: Path) -> None:
    spec = importlib.util.spec_from_file_location("generate", root / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    text = (root / "docs" / "solvers.md").read_text(encoding="utf-8")
    assert text.count("<!-- table ") >= 6
    assert generate.render(text) == text
