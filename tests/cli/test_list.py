"""``bench list``: every name, in a form for people and one for programs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from bench import registry
from bench.cli.list import plain, rows
from bench.errors import UsageError
from bench.grids import ENDS, GRIDS
from bench.registry import GROUPS


def installed(kind: registry.Kind) -> set[str]:
    """Names without the files that other tests have added to this process by path."""
    return {entry.name for entry in registry.entries(kind).values() if entry.module}


@pytest.mark.parametrize("kind", ["methods", "suites", "metrics"])
def test_json_has_every_entry(bench, kind: str) -> None:
    found = json.loads(bench("list", kind, "--json").stdout)
    assert {row["name"] for row in found} == installed(kind.removesuffix("s"))
    assert all(row["summary"] and not row["problem"] for row in found)


def test_grids_read_from_source_are_the_grids_there_are() -> None:
    found = {row["name"]: row["parameters"].split(", ") for row in rows("grids")}
    assert set(found) == {*GRIDS, "user"}
    for name, function in GRIDS.items():
        assert found[name] == [*(function.__annotations__.keys() - {"levels", "return"}), "end"]
    assert set(ENDS) == {"zero", "append", "sigma_min"}  # what `bench show karras` says of `end`


@pytest.mark.parametrize("family", GROUPS)
def test_a_family_is_what_its_methods_say(family: str) -> None:
    entries = registry.entries("method")
    expected = {name for name, entry in entries.items() if entry.info and entry.info.family == family}
    assert {row["name"] for row in rows("methods", family)} == expected


def test_methods_are_grouped_by_family_in_the_order_of_families() -> None:
    order = [GROUPS.index(row["family"]) for row in rows("methods")]
    assert order == sorted(order)


def test_the_paper_stands_beside_the_name() -> None:
    ddim = next(row for row in rows("methods") if row["name"] == "ddim")
    assert ddim["paper"] == "Song 2020, arXiv 2010.02502"


@pytest.mark.parametrize(
    ("kind", "family", "message"),
    [
        ("method", "", "did you mean methods"),
        ("methods", "solver", "did you mean solvers"),
        ("suites", "solvers", "suites have no families"),
    ],
)
def test_what_cannot_be_listed(kind: str, family: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rows(kind, family)


def test_plain_columns_are_aligned_and_empty_ones_left_out() -> None:
    table = [
        {"name": "a", "family": "", "summary": "One.", "source": "built in"},
        {"name": "long_name", "family": "", "summary": "Two.", "source": "built in"},
    ]
    assert plain(table) == "NAME       SUMMARY\na          One.\nlong_name  Two."
    assert plain([{**table[0], "source": "my-package"}]) == "NAME  SUMMARY  SOURCE\na     One.     my-package"


def test_a_pipe_gets_one_line_per_entry(bench) -> None:
    lines = bench("list", "methods").stdout.splitlines()
    assert len(lines) == 1 + len(installed("method"))
    assert "\x1b" not in "".join(lines)


def test_a_terminal_gets_a_table_with_all_names(root: Path) -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "160", "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-m", "bench", "list", "grids"], stdout=slave, stderr=slave, env=environment
    ) as process:
        os.close(slave)
        text = b""
        while True:
            try:
                chunk = os.read(master, 4096)
            except OSError:  # the other end was closed
                break
            if not chunk:
                break
            text += chunk
    os.close(master)
    assert process.returncode == 0
    assert "─" in text.decode() and all(name in text.decode() for name in GRIDS)
