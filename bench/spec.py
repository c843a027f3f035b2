"""The one grammar for a thing with parameters: ``name[key=value,key=value]``.

``dpm_solver_pp[order=3,grid=karras[rho=5]]`` is written this way on the command line, in records and
on boards. Values are kept as text; what they mean is decided by the fields of the thing they configure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.errors import UsageError

NAME = re.compile(r"[a-z][a-z0-9_]*")
_SPEC = re.compile(r"(?P<name>[^\[\]]*)(\[(?P<body>.*)\])?", re.DOTALL)


@dataclass(frozen=True)
class Spec:
    """A name and its parameters as text, in the order they were given."""

    name: str
    params: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        if not self.params:
            return self.name
        return f"{self.name}[{','.join(f'{key}={value}' for key, value in self.params)}]"


def split_top(text: str, separator: str = ",") -> list[str]:
    """Split at separators outside brackets; empty parts are dropped.

    Raises:
        UsageError: the brackets do not match.
    """
    parts, depth, start = [], 0, 0
    for position, char in enumerate(text):
        depth += (char == "[") - (char == "]")
        if depth < 0:
            break
        if char == separator and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    if depth != 0:
        raise UsageError(f"brackets do not match in {text!r}; write name[key=value,key=value]")
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def parse(text: str) -> Spec:
    """Parse one ``name[key=value,...]``.

    Raises:
        UsageError: the text does not follow the grammar, or a key is given twice.
    """
    split_top(text)
    match = _SPEC.fullmatch(text.strip())
    name = match["name"].strip() if match else ""
    if match is None or not NAME.fullmatch(name):
        raise UsageError(f"{text!r} is not a name with parameters; write name or name[key=value,...]")
    params: dict[str, str] = {}
    for part in split_top(match["body"] or ""):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not NAME.fullmatch(key) or not equals or not value:
            raise UsageError(f"{part!r} in {text!r} is not key=value")
        if key in params:
            raise UsageError(f"parameter {key!r} is given twice in {text!r}")
        params[key] = value
    return Spec(name, tuple(params.items()))


def parse_list(text: str) -> list[Spec]:
    """Parse a comma-separated list of specs; commas inside brackets do not separate."""
    return [parse(part) for part in split_top(text)]
