"""Third parties' packages: the template installs, is listed and keeps the contract; a broken one breaks nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import ExitCode


@pytest.fixture(scope="module")
def template(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which a copy of the template was installed as a contributor would, without a network."""
    copy = tmp_path_factory.mktemp("copy") / "method"
    shutil.copytree(root / "templates" / "method", copy, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", target, copy], check=True)
    return target


def install(folder: Path, name: str, files: dict[str, str], group: str = "bench.methods") -> Path:
    """What an installed package looks like to Python: its modules and its metadata."""
    for path, text in files.items():
        (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / path).write_text(text, encoding="utf-8")
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{name}_entry = {name}.entry\n")
    return folder


def listed(bench, folder: Path, kind: str = "methods") -> dict[str, dict[str, str]]:
    done = bench("list", kind, "--json", path=(folder,))
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_the_template_is_listed_and_shown(bench, template: Path) -> None:
    row = listed(bench, template)["midpoint"]
    assert row["source"] == "fewstep-midpoint" and row["problem"] == "" and row["family"] == "solvers"
    assert "midpoint" in bench("list", "methods", path=(template,)).stdout
    assert "Algorithm 3" in bench("show", "midpoint", path=(template,)).stdout


def test_the_template_keeps_the_contract(bench, template: Path) -> None:
    done = bench("test", "midpoint", path=(template,))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok       order" in done.stdout and "FAILED" not in done.stdout


def test_the_tests_of_the_template_pass(bench, root: Path, template: Path) -> None:
    tests = root / "templates" / "method" / "tests"
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-c", "/dev/null"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tests)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": f"{template}:{root}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


BROKEN = {
    "a package that raises": ({"__init__.py": "raise RuntimeError('boom')", "entry.py": ""}, "boom"),
    "a package that exits": ({"__init__.py": "raise SystemExit(0)", "entry.py": ""}, "cannot be found"),
    "a module that is missing": ({"__init__.py": ""}, "does not exist"),
    "a module without INFO": ({"__init__.py": "", "entry.py": "x = 1\n"}, "no INFO"),
    "a module with a syntax error": ({"__init__.py": "", "entry.py": "def :\n"}, "cannot be read"),
    "a module that is not text": ({"__init__.py": "", "entry.py": "\x00"}, "cannot be read"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_package_is_listed_with_its_problem(bench, tmp_path: Path, case: str) -> None:
    files, problem = BROKEN[case]
    rows = listed(bench, install(tmp_path, "broken", files))
    assert problem in rows["broken_entry"]["problem"]
    assert rows["ddim"]["problem"] == ""
    done = bench("test", "broken_entry", path=(tmp_path,))
    assert done.returncode == ExitCode.CELL_FAILED
    assert "broken_entry" in done.stderr and "Traceback" not in done.stderr


def test_a_module_that_raises_is_not_imported_to_be_listed(bench, tmp_path: Path) -> None:
    source = "from bench.api import Info\nINFO = Info(summary='Never.', family='solvers')\nraise RuntimeError('boom')\n"
    install(tmp_path, "broken", {"__init__.py": "", "entry.py": source})
    assert listed(bench, tmp_path)["broken_entry"]["problem"] == ""
    done = bench("test", "broken_entry", path=(tmp_path,))
    assert done.returncode == ExitCode.CELL_FAILED
    assert "boom" in done.stderr and "Traceback" not in done.stderr


def test_a_package_cannot_take_over_a_built_in_name(bench, tmp_path: Path) -> None:
    install(tmp_path, "thief", {"__init__.py": "", "entry.py": "INFO = 1\n"})
    (tmp_path / "thief-1.0.dist-info" / "entry_points.txt").write_text("[bench.methods]\nddim = thief.entry\n")
    assert listed(bench, tmp_path)["ddim"]["source"] == "built in"


@pytest.mark.parametrize("kind", ["suite", "metric"])
def test_suites_and_metrics_have_entry_points_too(bench, tmp_path: Path, kind: str) -> None:
    source = "from bench.info import Info\nINFO = Info(summary='Another one.')\n"
    install(tmp_path, "other", {"__init__.py": "", "entry.py": source}, group=f"bench.{kind}s")
    assert listed(bench, tmp_path, f"{kind}s")["other_entry"]["summary"] == "Another one."
