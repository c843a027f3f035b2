"""Parameters read from source are those that importing gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import registry
from bench.cli.source import Parameter, parameters
from bench.registry import Entry

ENTRIES = [entry for kind in ("method", "suite", "metric") for entry in registry.entries(kind).values()]  # type: ignore[arg-type]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_names_and_defaults_are_those_of_the_class(entry: Entry) -> None:
    fields = registry.load(entry.kind, entry.name).model_fields
    found = {parameter.name: parameter for parameter in parameters(entry)}
    assert list(found) == list(fields)
    for name, field in fields.items():
        if field.is_required():
            assert found[name].default == ""
        else:
            assert found[name].default == repr(field.default) or float(found[name].default) == field.default


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_every_parameter_is_documented(entry: Entry) -> None:
    found = parameters(entry)
    documented = " ".join(parameter.doc for parameter in found)  # one item may speak of two: "...; ``rate`` is ..."
    assert [each.name for each in found if not each.doc and f"``{each.name}``" not in documented] == []


SOURCE = '''
"""A file."""
from typing import ClassVar, Literal
from pydantic import Field
from bench.api import Solver

Variant = Literal["one", "two"]


class Base(Solver):
    """Shared.

    Attributes:
        order: how many
            former slopes are used.
    """

    order: int = Field(3, ge=1, lt=5)


class Entry(Base):
    """The entry.

    Attributes:
        variant: which one.
        low, high: the range: both ends.
    """

    constant: ClassVar[int] = 3
    variant: Variant = "one"
    low: float = Field(default=0.0, ge=0)
    high: float | None = None

    def order_of(self) -> int:
        local: int = 3
        return local
'''


def entry(path: Path) -> Entry:
    return Entry("method", path.stem, path, "", None, "", "", str(path))


def test_what_a_parameter_says_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(SOURCE)
    grid, *found = parameters(entry(path))
    assert grid.name == "grid"
    assert found == [
        Parameter("order", "int, >= 1, < 5", "3", "how many former slopes are used."),
        Parameter("variant", "Literal['one', 'two']", "'one'", "which one."),
        Parameter("low", "float, >= 0", "0.0", "the range: both ends."),
        Parameter("high", "float | None", "None", "the range: both ends."),
    ]


@pytest.mark.parametrize("source", ["", "def :", "x = 1", "class A: ...", "class A(B): ..."])
def test_a_file_without_an_entry_has_no_parameters(tmp_path: Path, source: str) -> None:
    path = tmp_path / "some.py"
    path.write_text(source)
    assert parameters(entry(path)) == []
    assert parameters(entry(tmp_path / "missing.py")) == []
    assert parameters(entry(tmp_path)) == []
