"""The one registry: methods, suites and metrics, ours and third parties', by name.

Our own entries are the files of a known folder; third parties' come by entry point (``bench.methods``,
``bench.suites``, ``bench.metrics``) or by path. Nothing is imported to be listed: ``INFO`` and the docstring are read
from the syntax tree.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from bench.errors import UsageError, unknown
from bench.info import FAMILIES, Info, Paper
from bench.spec import NAME, Spec, parse

Kind = Literal["method", "suite", "metric"]

RELEASED = "released"
GROUPS = (*FAMILIES, RELEASED)
"""Families of methods: those that run on any teacher, and the checkpoints their authors have released."""

_ROOT = Path(__file__).parent
_FOLDERS: Mapping[Kind, tuple[str, Path]] = {
    "method": ("methods", _ROOT.parent / "methods"),
    "suite": ("bench.suites", _ROOT / "suites"),
    "metric": ("bench.metrics", _ROOT / "metrics"),
}
_BASES: Mapping[Kind, tuple[str, str]] = {
    "method": ("bench.api", "Method"),
    "suite": ("bench.suites.base", "Suite"),
    "metric": ("bench.metrics.base", "Metric"),
}


@dataclass(frozen=True)
class Entry:
    """A registered name.

    Attributes:
        name: file name = registry key = name on the board.
        path: the file; what its revision is computed from.
        module: dotted name, or empty for a file given by path.
        info: from the syntax tree; None when the file has none that can be read.
        problem: why it cannot be used, or empty.
        source: ``"built in"``, the distribution's name, or the path.
    """

    kind: Kind
    name: str
    path: Path
    module: str
    info: Info | None
    doc: str
    problem: str
    source: str


def _literal(node: ast.expr) -> Any:
    """Evaluate a literal that may contain ``Info(...)`` and ``Paper(...)`` calls."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Info", "Paper"):
        arguments = {keyword.arg or "": _literal(keyword.value) for keyword in node.keywords}
        return {"Info": Info, "Paper": Paper}[node.func.id](**arguments)
    if isinstance(node, ast.Tuple):
        return tuple(_literal(element) for element in node.elts)
    return ast.literal_eval(node)


def _read_info(tree: ast.Module) -> Info | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["INFO"]:
            info = _literal(node.value)
            if not isinstance(info, Info) or not isinstance(info.summary, str):
                raise TypeError("INFO is not Info(summary=..., ...)")
            if not all(isinstance(paper, Paper) and paper.authors for paper in info.papers):
                raise TypeError("papers of INFO is not a tuple of Paper(..., authors=...)")
            return info
    return None


def _entry(kind: Kind, name: str, path: Path, module: str, source: str) -> Entry:
    info, doc, problem = None, "", ""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        info, doc = _read_info(tree), ast.get_docstring(tree) or ""
        if info is None:
            problem = "the file has no INFO = Info(...)"
    except (OSError, SyntaxError, ValueError, TypeError) as error:
        problem = f"cannot be read: {error}"
    return Entry(kind, name, path, module, info, doc, problem, source)


def _built_in(kind: Kind) -> Iterable[Entry]:
    package, folder = _FOLDERS[kind]
    for path in sorted(folder.rglob("*.py")):
        if path.stem.startswith("_") or path.stem == "base":
            continue
        module = ".".join([package, *path.relative_to(folder).with_suffix("").parts])
        yield _entry(kind, path.stem, path, module, "built in")


def _installed(kind: Kind) -> Iterable[Entry]:
    from importlib.metadata import entry_points

    for point in entry_points(group=f"bench.{kind}s"):
        source = point.dist.name if point.dist else "entry point"
        try:
            spec = importlib.util.find_spec(point.module)
        except (Exception, SystemExit) as error:  # a plug-in's package may raise anything while it is imported
            yield Entry(kind, point.name, Path(), point.module, None, "", f"cannot be found: {error}", source)
            continue
        if spec is None or spec.origin is None:
            yield Entry(kind, point.name, Path(), point.module, None, "", "its module does not exist", source)
        else:
            yield _entry(kind, point.name, Path(spec.origin), point.module, source)


_by_path: dict[tuple[Kind, str], Path] = {}


def add_path(kind: Kind, path: Path) -> str:
    """Register a file for this process; its name is the file's stem.

    Raises:
        UsageError: there is no such file, or its name is not a valid key.
    """
    if not path.is_file():
        raise UsageError(f"{path} is not a file; give the path of one Python file with a {kind}")
    if not NAME.fullmatch(path.stem):
        raise UsageError(f"{path.name}: a {kind}'s file name is its key: lower-case letters, digits and underscores")
    if path.stem in _static(kind):
        raise UsageError(f"{path.stem!r} is already a registered {kind}; rename {path.name}")
    _by_path[kind, path.stem] = path.resolve()
    return path.stem


@cache
def _static(kind: Kind) -> dict[str, Entry]:
    found = {entry.name: entry for entry in _built_in(kind)}
    for entry in _installed(kind):
        if entry.name in found:
            continue  # our own names cannot be taken over
        found[entry.name] = entry
    return found


def entries(kind: Kind) -> dict[str, Entry]:
    """All entries of a kind by name, without importing any."""
    local = {name: _entry(kind, name, path, "", str(path)) for (of, name), path in _by_path.items() if of == kind}
    return {**_static(kind), **local}


def methods_of(group: str) -> list[str]:
    """The methods of a family; ``all`` are those that run on any teacher, so not the released checkpoints."""
    found = entries("method").items()
    if group == "all":
        return [name for name, item in found if item.info is None or item.info.family != RELEASED]
    return [name for name, item in found if item.info is not None and item.info.family == group]


def entry(kind: Kind, name: str) -> Entry:
    """One entry.

    Raises:
        UsageError: the name is not registered; says which are near.
    """
    found = entries(kind)
    if name not in found:
        raise unknown(kind, name, found)
    return found[name]


def _module(item: Entry) -> ModuleType:
    if item.module:
        return importlib.import_module(item.module)
    name = f"bench_local_{item.kind}_{item.name}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, item.path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # half a module would be found by the next attempt
        raise
    return module


class InvalidEntry(Exception):
    """An entry that cannot be used: it becomes ``invalid`` records, not a stack trace."""


def load(kind: Kind, name: str) -> type[Any]:
    """The class of an entry.

    Raises:
        UsageError: the name is not registered.
        InvalidEntry: importing it failed, or it does not hold exactly one class of its kind.
    """
    item = entry(kind, name)
    if item.problem:
        raise InvalidEntry(f"{kind} {name} ({item.source}): {item.problem}")
    module_name, base_name = _BASES[kind]
    base = getattr(importlib.import_module(module_name), base_name)
    try:
        module = _module(item)
    except (Exception, SystemExit) as error:  # third-party code may raise anything
        raise InvalidEntry(f"{kind} {name} ({item.source}) cannot be imported: {error!r}") from error
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
    if len(classes) != 1:
        raise InvalidEntry(f"{kind} {name} ({item.source}) must define exactly one {base_name}, not {len(classes)}")
    return classes[0]


def create(kind: Kind, spec: Spec | str) -> Any:
    """An instance with the parameters of a spec.

    Raises:
        UsageError: an unknown name or parameter, or a value of the wrong type.
        InvalidEntry: the entry itself is broken.
    """
    from pydantic import ValidationError

    spec = parse(spec) if isinstance(spec, str) else spec
    cls = load(kind, spec.name)
    for key, _ in spec.params:
        if key not in cls.model_fields:
            known = list(cls.model_fields)
            if not known:
                raise UsageError(f"{kind} {spec.name} has no parameters, so {key!r} cannot be set")
            raise unknown(f"parameter of {kind} {spec.name}", key, known)
    try:
        return cls(**dict(spec.params))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its parameters"
        raise UsageError(f"{kind} {spec.name}: {where}: {first['msg']}, not {first.get('input')!r}") from error


def canonical(kind: Kind, name: str, instance: Any) -> str:
    """The spec as it stands in records and on boards: parameters that differ from the defaults, in declared order."""
    fields = type(instance).model_fields
    changed = tuple(
        (key, str(value).lower() if isinstance(value, bool) else str(value))
        for key, value in ((key, getattr(instance, key)) for key in fields)
        if value != fields[key].get_default(call_default_factory=True)
    )
    return str(Spec(name, changed))
