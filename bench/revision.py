"""Content hashes of code: a method's revision covers its file and everything of ours that the file imports.

Comments, docstrings and blank lines do not count, so that a better sentence does not cost everyone their records.
Hashes are of source text, not of syntax trees, whose printed form differs between versions of Python.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("bench", "methods")
SHARED = (ROOT / "bench" / "sampling.py", ROOT / "bench" / "nfe.py")
"""What stands between every method and its numbers, though no method imports it."""


def _docstrings(tree: ast.Module) -> set[int]:
    """The numbers of all lines that belong to docstrings."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not body or not isinstance(body[0], ast.Expr):
            continue
        value = body[0].value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            lines.update(range(value.lineno, (value.end_lineno or value.lineno) + 1))
    return lines


def _code(source: str, tree: ast.Module) -> str:
    """The source without comments, docstrings, blank lines and trailing space."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    skip = _docstrings(tree)
    return "\n".join(line.rstrip() for number, line in enumerate(lines, 1) if number not in skip and line.strip())


def _names(tree: ast.Module, package: str) -> Iterator[str]:
    """Dotted names that a module imports, names inside modules included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _locate(name: str, roots: Iterable[tuple[str, Path]]) -> Path | None:
    """The file of a dotted name if it is a module of one of the packages."""
    first, *rest = name.split(".")
    for package, folder in roots:
        if first == package:
            path = folder.joinpath(first, *rest)
            candidates = (path.with_suffix(".py"), path / "__init__.py")
            return next((candidate for candidate in candidates if candidate.is_file()), None)
    return None


@cache
def _read(path: Path, package: str) -> tuple[str, tuple[str, ...]]:
    """The code of a file and the names it imports; a file that is not Python counts as its text."""
    source = path.read_text(encoding="utf-8")
    try:
        tree = ast.parse(source)
        return _code(source, tree), tuple(_names(tree, package))
    except (SyntaxError, ValueError, tokenize.TokenError):
        return source, ()


def _package(path: Path, roots: Iterable[tuple[str, Path]]) -> str:
    """The dotted package that holds a file, for relative imports; empty for a file given by path."""
    for _, folder in roots:
        if path.is_relative_to(folder):
            return ".".join(path.relative_to(folder).parent.parts)
    return ""


def closure(path: Path, module: str = "") -> list[Path]:
    """A file and all files of ours (and of its own top-level package) that it imports, directly or not; sorted.

    Args:
        path: the file to start from.
        module: its dotted name, if it is part of an installed package.
    """
    roots = [(package, ROOT) for package in PACKAGES]
    top = module.split(".")[0]
    if top and top not in PACKAGES and len(module.split(".")) > 1:
        roots.append((top, path.parents[len(module.split(".")) - 1]))
    found: set[Path] = set()
    todo = [path]
    while todo:
        current = todo.pop()
        if current in found:
            continue
        found.add(current)
        _, names = _read(current, _package(current, roots))
        todo += [target for name in names if (target := _locate(name, roots)) is not None]
    return sorted(found)


def revision(path: Path, module: str = "", extra: Iterable[str] = ()) -> str:
    """16 hex digits of the SHA-256 of a file's code, of what it imports of ours, and of the sampling loop.

    Args:
        path, module: as ``closure``.
        extra: revisions of what a parameter names, such as another method.
    """
    codes = {hashlib.sha256(_read(file, "")[0].encode()).hexdigest() for file in (*closure(path, module), *SHARED)}
    return hashlib.sha256("|".join([*sorted(codes), *extra]).encode()).hexdigest()[:16]
