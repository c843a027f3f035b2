"""The parity table: what becomes a row, and what a row says."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.errors import UsageError
from bench.parity import found, recorded
from bench.parity.base import Case, Setup, Unavailable
from bench.parity.formats import markdown
from bench.parity.table import Row, cells, compare, number, rows, select, summary

PLUGIN = """
from bench.parity.base import Case

def reference(setup):
    if setup.checkout is None:
        raise AssertionError("authors' code is run from a checkout only")
    return setup.denoise(setup.x, setup.grid.nodes[0])

CASES = (Case(solver="ddim", against="someone/code", what="one_step()", reference=reference, nfes=(1,)),)
"""


def case(reference: Callable[[Setup], Tensor], against: str = "azula", **more: object) -> Case:
    return Case(solver="ddim", against=against, what="sampler()", reference=reference, nfes=(1, 3), **more)


def euler(setup: Setup) -> Tensor:
    x = setup.x
    for s, t in setup.grid.steps():
        x = x + (t - s) * (x - setup.denoise(x, s)) / s
    return x


def absent(setup: Setup) -> Tensor:
    raise Unavailable("azula is not installed")


@pytest.mark.parametrize(
    ("made", "status", "says"),
    [
        (case(euler), "equal", ""),
        (case(lambda setup: euler(setup) + 1e-3), "FAILED", "1.0e-03 at nfe=3; the tolerance is 1e-05"),
        (case(lambda setup: euler(setup) + 1e-3, tolerance=1e-2), "equal", ""),
        (case(lambda setup: euler(setup) * math.nan), "FAILED", "inf at nfe=1"),
        (case(lambda setup: euler(setup) + 1e-3, tolerance=None, verdict="theirs"), "differs", ""),
        (case(euler, tolerance=None, verdict="theirs"), "FAILED", "is said to differ and does not"),
        (case(absent), "missing", "azula is not installed"),
        (case(lambda setup: 1 / 0), "FAILED", "ZeroDivisionError at nfe=1"),
        (case(euler, against="someone/code"), "missing", "not recorded for nfe=1"),
    ],
)  # fmt: skip
def test_status(made: Case, status: str, says: str) -> None:
    row = compare("ddim", made, {})
    assert row.status == status
    assert says in row.problem + row.missing


def test_a_row_names_its_source_and_its_differences(tmp_path: Path) -> None:
    row = compare("ddim", case(lambda setup: euler(setup) + (3e-4 if setup.nfe == 3 else 0)), {})
    assert row.source.startswith("azula ")
    assert cells(row) == {"1": "<1e-12", "2": "-", "3": "3e-04", **dict.fromkeys(["5", "8", "10", "20"], "-"),
                          "largest": "3e-04"}  # fmt: skip
    assert (number(0.0), number(2.5e-7), number(math.inf)) == ("<1e-12", "2e-07", "inf")
    nothing = Row("ddim", case(absent), "azula", missing="no")
    assert set(cells(nothing).values()) == {"-"}


def repository(folder: Path) -> Path:
    commands = ["init -q", "-c user.name=a -c user.email=a@b commit -q --allow-empty -m x"]
    for command in commands:
        subprocess.run(["git", "-C", str(folder), *command.split()], check=True)
    return folder


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A third party's module of cases, found by its entry point."""
    package = tmp_path / "fewstep_reference"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "cases.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("fewstep_reference", "fewstep_reference.cases"):  # of another test
        monkeypatch.delitem(sys.modules, name, raising=False)
    points = {"my_solver": EntryPoint("my_solver", "fewstep_reference.cases", found.GROUP)}
    monkeypatch.setattr(found, "_installed", lambda: points)
    recorded.load.cache_clear()
    return package


def test_a_plugin_is_recorded_beside_its_module(plugin: Path, tmp_path: Path) -> None:
    assert "my_solver" in found.modules()
    checkout = repository(tmp_path)
    ((module, made),) = select(["my_solver"], {})
    assert compare(module, made, {}).status == "missing"
    live = compare(module, made, {"someone/code": checkout})
    assert live.status == "equal"
    assert recorded.record("my_solver", "someone/code", checkout) == 1
    content = json.loads((plugin / "recorded" / "my_solver.json").read_text())
    assert content[made.key]["commit"].startswith(live.source.partition("@")[2])
    again = compare(module, made, {})
    assert (again.status, again.source) == ("equal", live.source)
    torch.testing.assert_close(recorded.recall("my_solver", made, 1), recorded.theirs(made, 1, checkout))


def test_our_names_cannot_be_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("ddim", "somewhere", found.GROUP), EntryPoint("other", "somewhere", found.GROUP)]
    monkeypatch.setattr(found, "entry_points", lambda group: points)
    assert set(found._installed.__wrapped__()) == {"other"}


def test_a_damaged_recording_is_said_to_be(plugin: Path) -> None:
    (plugin / "recorded").mkdir()
    (plugin / "recorded" / "my_solver.json").write_text('{"key": {"values": 1}}')
    with pytest.raises(UsageError, match=r"my_solver\.json is not a file that bench parity"):
        recorded.load("my_solver")


def test_what_cannot_be_selected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean ddim"):
        select(["ddimm"], {})
    with pytest.raises(UsageError, match="did you mean NVlabs/edm"):
        select(["heun"], {"NVlabs/edn": tmp_path})
    with pytest.raises(UsageError, match="not a git checkout"):
        recorded.commit(tmp_path)
    assert len(select([], {})) > 200


def test_the_page_has_every_row_and_note_once() -> None:
    made = [
        compare("ddim", case(euler, verdict="A remark | with a line."), {}),
        compare("ddim", case(absent), {}),
        compare("heun", case(lambda setup: euler(setup) + 1, tolerance=None, verdict="A remark | with a line."), {}),
    ]
    page = markdown(made)
    assert page.startswith("# Parity\n") and page.endswith("\n") and not page.endswith("\n\n")
    assert "2 solvers; 1 equal, 1 known to differ, 1 missing." in page
    assert page.count("1. A remark | with a line.") == 2
    assert "2. azula is not installed" in page
    assert "| equal [1] | <1e-12 | - | <1e-12 | - |" in page
    assert "| differs [1] | 1e+00 | - | 1e+00 | - |" in page
    rules = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rules} == {6, 13}


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    table = rows([("ddim", case(euler))], {}, told.append)
    assert told == ["ddim | azula | sampler()"]
    assert summary(table) == "1 solver; 1 equal"
