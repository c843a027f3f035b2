"""Who is named when there are many: the best of each budget in turn."""

from __future__ import annotations

from synthetic import FD, cell, measured, record

from bench.report.chosen import MOST, chosen, remark
from bench.report.sections import Section, sections


def section(values: dict[str, dict[int, float]]) -> Section:
    records = [
        record(cell(method, nfe), {FD: measured(value)}) for method, row in values.items() for nfe, value in row.items()
    ]
    return sections(records)[0]


def many(count: int) -> dict[str, dict[int, float]]:
    """Methods whose order turns round between two budgets."""
    return {f"ddim[eta=0.{i:02}]": {1: 10.0 + i, 4: 100.0 - i} for i in range(count)}


def test_a_small_family_is_named_whole() -> None:
    found = section(many(MOST))
    assert chosen(found, FD) == found.methods
    assert remark(found, FD) == ""


def test_of_a_large_one_the_best_of_every_budget_in_turn() -> None:
    found = section(many(MOST + 8))
    half = MOST // 2
    best = {*(f"ddim[eta=0.{i:02}]" for i in range(half)), *(f"ddim[eta=0.{MOST + 7 - i:02}]" for i in range(half))}
    assert set(chosen(found, FD)) == best
    assert "8 others" in remark(found, FD)


def test_one_that_is_left_is_counted_as_one_and_without_values_the_first_are_named() -> None:
    found = section(many(MOST + 1))
    assert "1 other is not" in remark(found, FD)
    assert chosen(found, "none") == found.methods[:MOST]


def test_other_families_are_not_touched_and_the_order_is_the_sections() -> None:
    found = section({**many(MOST + 3), "reflow": {1: 999.0}, "progressive": {4: 1.0}})
    named = chosen(found, FD)
    assert {"reflow", "progressive"} <= set(named) and len(named) == MOST + 2
    assert named == [method for method in found.methods if method in named]
