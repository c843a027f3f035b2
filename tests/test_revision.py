"""Content hashes of code: what changes a number changes them, what does not does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.revision import ROOT, closure, revision

CODE = '''"""Doc."""

from bench.api import Method


def double(x):
    """Twice."""
    return 2 * x  # twice
'''


def write(tmp_path: Path, folder: str, text: str) -> Path:
    path = tmp_path / folder / "entry.py"
    path.parent.mkdir()
    path.write_text(text)
    return path


SAME = {
    "comment": CODE.replace("# twice", "# two times"),
    "docstring": CODE.replace("Twice.", "Two times,\n\n    as it were."),
    "blank": CODE.replace("\n\n\n", "\n\n\n\n"),
    "module doc": CODE.replace("Doc.", "Other."),
}
OTHER = {
    "number": CODE.replace("2 *", "3 *"),
    "string": CODE.replace("return 2 * x", "return '# 2' * x"),
    "indent": CODE.replace("    return 2 * x", "    if x:\n        return 2 * x"),
    "import": CODE.replace("import Method", "import Solver"),
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_words_do_not_count(tmp_path: Path, text: str) -> None:
    assert revision(write(tmp_path, "a", CODE)) == revision(write(tmp_path, "b", text))


@pytest.mark.parametrize("text", OTHER.values(), ids=OTHER)
def test_code_counts(tmp_path: Path, text: str) -> None:
    assert revision(write(tmp_path, "a", CODE)) != revision(write(tmp_path, "b", text))


def test_what_a_parameter_names_counts(tmp_path: Path) -> None:
    path = write(tmp_path, "a", CODE)
    assert len({revision(path), revision(path, extra=["1"]), revision(path, extra=["2"])}) == 3


def test_the_closure_follows_imports_of_ours(tmp_path: Path) -> None:
    names = {path.relative_to(ROOT).as_posix() for path in closure(ROOT / "methods" / "solvers" / "ddim.py")}
    assert {"methods/solvers/ddim.py", "bench/api.py", "bench/grids.py", "bench/process.py", "bench/rng.py"} <= names
    assert not {"bench/registry.py", "bench/sampling.py", "bench/suites/base.py"} & names


def test_the_closure_of_a_plug_in_covers_its_own_package(tmp_path: Path) -> None:
    package = tmp_path / "theirs" / "methods"
    package.mkdir(parents=True)
    (tmp_path / "theirs" / "__init__.py").write_text("")
    (tmp_path / "theirs" / "tools.py").write_text("import os\nimport torch\n")
    (package / "__init__.py").write_text("")
    (package / "near.py").write_text("from theirs import tools\n")
    entry = package / "mine.py"
    entry.write_text("from .near import x\nfrom bench.spec import parse\n")
    found = {path.name for path in closure(entry, "theirs.methods.mine")}
    assert {"mine.py", "near.py", "tools.py", "spec.py", "errors.py"} <= found


def test_a_file_that_is_not_python_has_a_revision(tmp_path: Path) -> None:
    assert revision(write(tmp_path, "a", "def (")) != revision(write(tmp_path, "b", "def (" + "("))
