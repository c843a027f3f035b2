"""What can be said of an entry from its source, without importing it: parameters, and the named grids.

Importing an entry imports torch, which takes seconds; a syntax tree takes a millisecond.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.registry import Entry

_ROOT = Path(__file__).parent.parent
_KINDS = ("Method", "Suite", "Metric")
_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


@dataclass(frozen=True)
class Parameter:
    """One parameter of an entry, as text.

    Attributes:
        type: the annotation; an alias of the module is written out, and bounds follow.
        default: the default as it stands in the source, or empty.
        doc: from the docstring's ``name: text``, or empty.
    """

    name: str
    type: str
    default: str
    doc: str


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])  # why it cannot be read is the entry's ``problem``


def _documented(*docs: str | None) -> dict[str, str]:
    """``name: text`` items of docstrings; a text goes on in lines that are indented deeper."""
    found: dict[str, str] = {}
    for doc in docs:
        for match in re.finditer(r"^( *)(\w+(?:, \w+)*): (.+(?:\n\1 +\S.*)*)", doc or "", re.MULTILINE):
            text = " ".join(match[3].split())
            for name in match[2].split(", "):
                found.setdefault(name, text)
    return found


def _base_name(node: ast.expr) -> str:
    inner = node.value if isinstance(node, ast.Subscript) else node
    return inner.attr if isinstance(inner, ast.Attribute) else inner.id if isinstance(inner, ast.Name) else ""


def _default(node: ast.expr | None) -> tuple[str, str]:
    """The default and, from pydantic's ``Field(default=..., ge=..., lt=...)``, the bounds."""
    if node is None:
        return "", ""
    if not (isinstance(node, ast.Call) and _base_name(node.func) == "Field"):
        return ast.unparse(node), ""
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if node.args:
        given["default"] = ast.unparse(node.args[0])
    bounds = [f", {sign} {given[key]}" for key, sign in _BOUNDS.items() if key in given]
    return given.get("default", ""), "".join(bounds)


def _fields(tree: ast.Module, cls: ast.ClassDef) -> Iterator[Parameter]:
    aliases = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    docs = _documented(ast.get_docstring(cls), ast.get_docstring(tree))
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            annotation = node.annotation
            if isinstance(annotation, ast.Name):
                annotation = aliases.get(annotation.id, annotation)
            kind = ast.unparse(annotation)
            if not kind.startswith(("ClassVar", "typing.ClassVar")):
                default, bounds = _default(node.value)
                yield Parameter(node.target.id, kind + bounds, default, docs.get(node.target.id, ""))


def _find(tree: ast.Module, name: str) -> tuple[ast.Module, ast.ClassDef] | None:
    """A class of this file, or one that it imports from the harness, with the tree it stands in."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return tree, node
        if isinstance(node, ast.ImportFrom) and any(alias.name == name and not alias.asname for alias in node.names):
            package, *parts = (node.module or "").split(".")
            return _find(_parse(_ROOT.joinpath(*parts).with_suffix(".py")), name) if package == _ROOT.name else None
    return None


def _ancestry(tree: ast.Module, cls: ast.ClassDef) -> list[tuple[ast.Module, ast.ClassDef]]:
    """The class after all its bases that can be read."""
    bases = [_find(tree, _base_name(base)) for base in cls.bases]
    return [*(each for base in bases if base and base[1] is not cls for each in _ancestry(*base)), (tree, cls)]


def parameters(entry: Entry) -> list[Parameter]:
    """The parameters of an entry, inherited ones first; empty if its source cannot be read."""
    tree = _parse(entry.path)
    lines = [_ancestry(tree, node) for node in tree.body if isinstance(node, ast.ClassDef)]
    entries = [line for line in lines if any(cls.name in _KINDS for _, cls in line)]
    # the entry is the most derived class, which stands last
    line = entries[-1] if entries else []
    found: dict[str, Parameter] = {}
    for source, cls in line:
        for field in _fields(source, cls):
            inherited = found[field.name].doc if field.name in found else ""
            found[field.name] = replace(field, doc=field.doc or inherited)
    return list(found.values())


def grids() -> dict[str, tuple[str, list[Parameter]]]:
    """The named grids: what each is, in one line, and its parameters."""
    tree = _parse(_ROOT / "grids.py")
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    found: dict[str, tuple[str, list[Parameter]]] = {}
    for name, function in _named_grids(tree):
        node = functions[function]
        arguments = node.args.args[1:]  # the first one is the levels
        values = [ast.unparse(value) for value in node.args.defaults]
        pairs = zip(arguments, values, strict=True)
        params = [Parameter(a.arg, ast.unparse(a.annotation) if a.annotation else "", v, "") for a, v in pairs]
        summary = (ast.get_docstring(node) or "").partition("\n")[0].replace("``", "")
        found[name] = (summary, [*params, _END])
    found["user"] = ("The noise levels you give, such as 80/9.7/0.5/0.", [_SIGMAS])
    return found


def _named_grids(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "GRIDS" and isinstance(node.value, ast.Dict):
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(value, ast.Name):
                    yield str(key.value), value.id


_END = Parameter("end", "zero, append or sigma_min", "zero", "what becomes of the last level")
_SIGMAS = Parameter("sigmas", "numbers separated by /", "", "decreasing noise levels, one more than there are steps")
