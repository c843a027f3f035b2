"""What holds for every file: sizes, docstrings, what is never called, what is never written down."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("bench/**/*.py"), *ROOT.glob("methods/**/*.py")])
METHODS = [path for path in SOURCES if path.is_relative_to(ROOT / "methods") and not path.stem.startswith("_")]
TEXT = {".py", ".md", ".toml", ".ini", ".yaml", ".yml", ".cff", ".json", ".csv", ".tex", ""}

every_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
every_method = pytest.mark.parametrize("path", METHODS, ids=lambda path: path.stem)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def called(module: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """The dotted name of everything that is called."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


SAVES = {"bench/tiny/training.py", "bench/features/inception.py"}
REMOTE_CODE = {"bench/pipelines/loading.py", "bench/pipelines/hub.py"}
UNPICKLER = "bench/pipelines/unpickle.py"
"""The one file that reads pickles: by a list of names, in a process of its own, when the user asks for it."""


@every_source
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@every_source
def test_every_module_has_a_docstring(path: Path) -> None:
    assert ast.get_docstring(tree(path))


@every_source
def test_nothing_dangerous_is_called(path: Path) -> None:
    module = tree(path)
    for name, call in called(module):
        assert name not in {"eval", "os.system", "os.popen"}, name
        # PyTorch's own format holds only tensors where it is read so; it is written where a library wants it
        assert name != "torch.load" or "weights_only=True" in ast.unparse(call), name
        assert name != "torch.save" or path.relative_to(ROOT).as_posix() in SAVES, name
        # parts of authors' scripts, from the checkout that the user names to bench parity
        assert name != "exec" or path.is_relative_to(ROOT / "bench" / "parity" / "cases"), name
        assert not name.startswith(("pickle.", "marshal.", "shelve.", "joblib.", "dill.")), name
        for keyword in call.keywords:
            if keyword.arg in ("shell", "allow_pickle"):
                assert ast.unparse(keyword.value) == "False", ast.unparse(call)
            if keyword.arg == "trust_remote_code":  # only where the user has named the code and its revision
                allowed = path.relative_to(ROOT).as_posix() in REMOTE_CODE
                assert allowed or ast.unparse(keyword.value) == "False", ast.unparse(call)


@every_source
def test_nothing_dangerous_is_imported(path: Path) -> None:
    if path.relative_to(ROOT).as_posix() == UNPICKLER:
        return
    for node in ast.walk(tree(path)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        for name in (module, *names):
            assert name.partition(".")[0] not in {"pickle", "marshal", "shelve", "dill", "joblib"}, ast.unparse(node)


@every_source
def test_no_global_seed_is_set(path: Path) -> None:
    seeds = {"torch.manual_seed", "random.seed", "np.random.seed", "numpy.random.seed", "torch.cuda.manual_seed_all"}
    assert not [name for name, _ in called(tree(path)) if name in seeds]


@every_source
def test_no_module_imports_the_package_itself(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            assert not {alias.name for alias in node.names} & {"bench", "methods"}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module in ("bench", "methods"):  # only to reach a module of it
                folder = ROOT / node.module
                for alias in node.names:
                    assert (folder / f"{alias.name}.py").is_file() or (folder / alias.name).is_dir(), alias.name


@every_source
def test_nothing_is_printed(path: Path) -> None:
    if path.is_relative_to(ROOT / "bench" / "cli"):
        return
    assert not [name for name, _ in called(tree(path)) if name == "print"]


@every_method
def test_every_method_says_what_it_is_and_where_it_comes_from(path: Path) -> None:
    from bench.registry import entry

    info = entry("method", path.stem).info
    assert info is not None
    assert re.fullmatch(r"[^\n]{10,120}\.", info.summary), info.summary
    assert ". " not in info.summary, "one sentence"
    # an equation's number is given where somebody has checked it; a wrong one would be worse than none
    assert info.papers and all(paper.arxiv for paper in info.papers)
    if info.family != "released":  # a declaration has no equations; its paper stands in INFO
        doc = ast.get_docstring(tree(path))
        assert doc is not None and any(paper.arxiv in doc for paper in info.papers)


def tracked() -> list[Path]:
    """Files that git knows or would add; all files where there is no repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name]


def test_no_file_names_a_path_of_a_machine() -> None:
    # without their slashes, so that this file does not name one itself
    names = ("work", "tmp", "home", "root", "Users")
    machine = re.compile(f"(?<![\\w.>])/({'|'.join(names)})/")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in tracked()
        if path.suffix in TEXT and path.is_file()
        for match in machine.finditer(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert not found


def test_no_large_file_is_tracked() -> None:
    sizes = {path: path.stat().st_size for path in tracked() if path.is_file()}
    assert not [path for path, size in sizes.items() if size > 5 * 2**20]
    assert sum(size for path, size in sizes.items() if path.suffix == ".safetensors") <= 32 * 2**20
