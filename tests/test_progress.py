"""The estimate against runs whose cost is known exactly, and what is shown in a file and on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.cell import Cell
from bench.progress import LATENCY_SECONDS, OVERHEAD, Bar, Estimate, Lines, clock, display
from bench.record import Record, Status


def cell(method: str, nfe: int, *, latency: bool = False) -> Cell:
    metrics = ("latency-v1/cpu",) if latency else ("m",)
    return Cell(
        suite="s", method=method, nfe=nfe, seed=0, samples=100, suite_revision="", method_revision="", metrics=metrics
    )


def ended(of: Cell, rate: float, status: Status = Status.OK) -> Record:
    seconds = rate * of.samples * (of.nfe + OVERHEAD)
    return Record(id=of.id, cell=of, status=status, seconds=seconds, reason="why", created="2026-01-01T00:00:00+00:00")


def test_the_estimate_is_exact_when_cost_follows_the_model() -> None:
    fast, slow = [cell("fast", nfe) for nfe in (1, 2, 8)], [cell("slow[order=3]", nfe) for nfe in (1, 2, 8)]
    estimate = Estimate([*fast, *slow], workers=2)
    assert (estimate.seconds(), estimate.share()) == (None, 0.0)
    estimate.finish(ended(fast[0], 0.001))
    estimate.finish(ended(slow[0], 0.01))
    left = sum(rate * 100 * (nfe + OVERHEAD) for rate in (0.001, 0.01) for nfe in (2, 8))
    done = sum(rate * 100 * (1 + OVERHEAD) for rate in (0.001, 0.01))
    assert estimate.seconds() == pytest.approx(left / 2)
    assert estimate.share() == pytest.approx(done / (done + left))
    for item, rate in [(item, 0.001) for item in fast[1:]] + [(item, 0.01) for item in slow[1:]]:
        estimate.finish(ended(item, rate))
    assert (estimate.seconds(), estimate.share()) == (0.0, 1.0)


def test_cells_of_latency_are_estimated_apart_from_the_others() -> None:
    timed = [cell("a", 1, latency=True), cell("a", 5, latency=True), cell("b", 5, latency=True)]
    estimate = Estimate([cell("a", 1), cell("a", 5), *timed], workers=2)
    assert estimate.seconds() is None
    estimate.finish(ended(cell("a", 1), 10.0))  # thousands of seconds, which say nothing of latency
    assert estimate.seconds() == pytest.approx(10 * 100 * (5 + OVERHEAD) / 2 + 3 * LATENCY_SECONDS)
    estimate.finish(ended(cell("a", 5), 10.0))
    estimate.finish(ended(timed[0], 0.01))  # and one of latency says all of the next
    assert estimate.seconds() == pytest.approx(2 * 0.01 * 100 * (5 + OVERHEAD))


def test_earlier_runs_teach() -> None:
    estimate = Estimate([cell("a", 8)], workers=1)
    estimate.learn(ended(cell("a", 2), 0.01))
    assert estimate.seconds() == pytest.approx(0.01 * 100 * (8 + OVERHEAD))


def test_failures_teach_nothing_of_the_cost() -> None:
    estimate = Estimate([cell("a", 1), cell("a", 2)], workers=1)
    estimate.finish(ended(cell("a", 1), 5.0, Status.TIMEOUT))
    assert estimate.seconds() is None


@pytest.mark.parametrize(("seconds", "text"), [(None, "?"), (0.4, "0:00"), (61, "1:01"), (3723, "1:02:03")])
def test_clock(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text


def test_a_file_gets_plain_lines() -> None:
    stream = io.StringIO()
    shown = display(2, stream)
    assert isinstance(shown, Lines)
    cells = [cell("a[order=3]", 1), cell("a[order=3]", 2)]
    estimate = Estimate(cells, 1)
    for done, (item, status) in enumerate(zip(cells, (Status.OK, Status.FAILED), strict=True), 1):
        record = ended(item, 0.01, status)
        estimate.finish(record)
        shown.update(record, done, estimate)
    shown.close()
    first, second = stream.getvalue().splitlines()
    assert first.startswith("[1/2  ") and first.endswith("a[order=3] nfe=1 seed=0")
    assert second.startswith("[2/2 100% ") and second.endswith("nfe=2 seed=0: failed: why")
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_a_bar_with_brackets_intact() -> None:
    stream = io.StringIO()
    shown = Bar(1, Console(file=stream, force_terminal=True, width=120))
    item = cell("a[order=3]", 1)
    estimate = Estimate([item], 1)
    estimate.finish(ended(item, 0.01, Status.CRASHED))
    shown.note("reference solutions: 1")
    shown.update(ended(item, 0.01, Status.CRASHED), 1, estimate)
    shown.close()
    assert "a[order=3] nfe=1 seed=0: crashed: why" in stream.getvalue()
