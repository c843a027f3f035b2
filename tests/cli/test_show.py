"""``bench show``: one page with everything that is known of an entry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import registry
from bench.cell import Cell
from bench.cli.results import tables
from bench.cli.show import as_dict, as_text, find
from bench.errors import ExitCode, UsageError
from bench.record import Measured, Record, Status

FD = "fd:digits-cnn@1a2b3c4d/n=2000/ref=9c0d1e2f"


def record(
    method: str = "ddim", nfe: int = 1, value: float = 7.125, status: Status = Status.OK, **more: object
) -> Record:
    cell = Cell(
        suite="digits",
        method=method,
        nfe=nfe,
        seed=0,
        samples=2000,
        suite_revision="a",
        method_revision="b",
        metrics=(FD,),
    ).model_copy(update=more)
    measured = Measured(value=value, low=value - 1, high=value + 1, label="FD (digits-cnn)", better="lower")
    return Record(id=cell.id, cell=cell, status=status, metrics={FD: measured}, created="2025-01-01T00:00:00Z")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "records").mkdir()
    shown = [record(), record(nfe=4, value=3.0), record("ddim[eta=1.0]"), record("heun", nfe=3)]
    hidden = [record(nfe=8, status=Status.FAILED), record(nfe=9, samples=0)]
    for each in [*shown, *hidden]:
        (tmp_path / "records" / f"{each.id}.json").write_text(each.model_dump_json())
    (tmp_path / "records" / "torn.json").write_text("{")
    (tmp_path / "other.json").write_text("[1]")
    return tmp_path


@pytest.mark.parametrize("kind", ["method", "suite", "metric"])
def test_every_entry_has_a_page(kind: registry.Kind) -> None:
    for entry in registry.entries(kind).values():
        page = as_text(entry, [])
        assert entry.info is not None and entry.info.summary in page
        assert all(paper.bibtex.splitlines()[0] in page and paper.arxiv in page for paper in entry.info.papers)
        json.dumps(as_dict(entry, []))


def test_results_are_grouped_by_what_may_stand_in_one_table(results: Path) -> None:
    found = tables(results, "method", "ddim")
    assert [table.title for table in found] == [
        "digits  ddim  (seed 0, 2000 samples, float32)",
        "digits  ddim[eta=1.0]  (seed 0, 2000 samples, float32)",
    ]
    assert found[0].nfe == [1, 4]
    assert found[0].values == {"FD (digits-cnn)": {1: "7.125 [6.125, 8.125]", 4: "3 [2, 4]"}}


@pytest.mark.parametrize(("kind", "name", "count"), [("suite", "digits", 3), ("metric", "fd", 3), ("metric", "kid", 0)])
def test_results_of_suites_and_metrics(results: Path, kind: registry.Kind, name: str, count: int) -> None:
    assert len(tables(results, kind, name)) == count


def test_no_results_is_no_table(tmp_path: Path) -> None:
    assert tables(tmp_path / "missing", "method", "ddim") == []


def test_the_page(bench, results: Path) -> None:
    page = bench("show", "ddim", "--results", str(results)).stdout
    sections = ["Description", "Parameters", "Papers", "BibTeX", "Results"]
    positions = [page.index(f"\n{section}\n") for section in sections]
    assert positions == sorted(positions)
    assert "@misc{song2020" in page and "7.125 [6.125, 8.125]" in page and "eta" in page


def test_json(bench, results: Path) -> None:
    data = json.loads(bench("show", "ddim", "--json", "--results", str(results)).stdout)
    assert (data["kind"], data["name"], data["family"]) == ("method", "ddim", "solvers")
    assert data["papers"][0]["arxiv"] == "2010.02502"
    assert {"name", "type", "default", "doc"} == set(data["parameters"][0])
    assert data["results"][0]["nfe"] == [1, 4]


def test_a_spec_is_shown_as_its_name(bench) -> None:
    assert bench("show", "ddim[eta=1]").stdout == bench("show", "ddim").stdout


def test_a_grid_has_a_page_too(bench) -> None:
    assert "rho" in bench("show", "karras").stdout
    assert json.loads(bench("show", "karras", "--json").stdout)["kind"] == "grid"


def test_results_that_are_not_there(bench, tmp_path: Path) -> None:
    done = bench("show", "ddim", "--results", str(tmp_path / "none"))
    assert done.returncode == ExitCode.OUTPUT and "is not a directory" in done.stderr


def test_a_name_of_two_kinds_asks_for_the_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(registry, "_by_path", {})
    path = tmp_path / "digits.py"
    path.write_text("")
    registry.add_path("method", path)
    with pytest.raises(UsageError, match="choose one with --kind"):
        find("digits")
    assert find("digits", "suite").kind == "suite"
