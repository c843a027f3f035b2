"""Names, specs and broken files; what an entry computes is tested elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import registry
from bench.errors import UsageError
from bench.info import FAMILIES
from bench.registry import InvalidEntry

GOOD = """
import torch
from bench.api import Info, Method

INFO = Info(summary="Nothing.", family="solvers")


class Nothing(Method):
    steps: int = 1
    rate: float = 0.5
    fast: bool = False

    def sample(self, problem, nfe):
        return problem.x
"""


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """``add("name", "source")`` registers a file for one test."""
    monkeypatch.setattr(registry, "_by_path", {})

    def write(name: str, source: str) -> str:
        path = tmp_path / f"{name}.py"
        path.write_text(source, encoding="utf-8")
        return registry.add_path("method", path)

    return write


@pytest.mark.parametrize("kind", ["method", "suite", "metric"])
def test_every_built_in_entry_can_be_loaded(kind: registry.Kind) -> None:
    for name, entry in registry.entries(kind).items():
        assert (entry.name, entry.path.stem) == (name, name)
        assert entry.problem == ""
        registry.load(kind, name)


def test_families_are_the_folders_of_methods() -> None:
    found = {entry.info.family for entry in registry.entries("method").values() if entry.info}
    assert found <= set(registry.GROUPS)


def test_all_are_the_methods_that_run_on_any_teacher() -> None:
    released = set(registry.methods_of(registry.RELEASED))
    assert set(registry.methods_of("all")) == set(registry.entries("method")) - released
    assert set(registry.methods_of("all")) == {name for group in FAMILIES for name in registry.methods_of(group)}


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown method 'ddmi'; did you mean .*ddim"):
        registry.create("method", "ddmi")


def test_parameters_are_read_as_their_types(add) -> None:
    add("nothing_at_all", GOOD)
    made = registry.create("method", "nothing_at_all[steps=3,rate=0.25,fast=true]")
    assert (made.steps, made.rate, made.fast) == (3, 0.25, True)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nothing_at_all[step=3]", "unknown parameter of method nothing_at_all 'step'; did you mean steps"),
        ("nothing_at_all[steps=x]", "steps: .*integer.* not 'x'"),
        ("nothing_at_all[steps=1.5]", "steps: .*integer"),
        ("nothing_at_all[rate=nan]", "rate: .*finite"),
        ("nothing_at_all[fast=maybe]", "fast: .*boolean"),
        ("nothing_at_all[steps]", "not key=value"),
        ("nothing_at_all[steps=1,steps=2]", "given twice"),
        ("nothing_at_all[steps=1", "brackets do not match"),
        ("../nothing", "not a name"),
    ],
)
def test_bad_specs_are_usage_errors(add, spec: str, message: str) -> None:
    add("nothing_at_all", GOOD)
    with pytest.raises(UsageError, match=message):
        registry.create("method", spec)


@pytest.mark.parametrize(
    ("spec", "canonical"),
    [
        ("nothing_at_all", "nothing_at_all"),
        ("nothing_at_all[fast=1,steps=2]", "nothing_at_all[steps=2,fast=true]"),
        ("nothing_at_all[rate=0.50]", "nothing_at_all"),
    ],
)
def test_a_canonical_spec_names_what_differs_from_the_defaults(add, spec: str, canonical: str) -> None:
    add("nothing_at_all", GOOD)
    made = registry.create("method", spec)
    assert registry.canonical("method", "nothing_at_all", made) == canonical
    assert registry.create("method", canonical) == made


@pytest.mark.parametrize("kind", ["method", "suite", "metric"])
def test_a_canonical_spec_makes_the_same_thing_again(kind: registry.Kind) -> None:
    network = "[module=a.py:f,trained_on=edm,prediction=x0,size=1x2x2]"
    needed = {"diffusers": "[model=owner/name]", "network": network}
    for name in registry.entries(kind):
        text = name + needed.get(name, "")
        made = registry.create(kind, text)
        assert registry.create(kind, registry.canonical(kind, name, made)) == made


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("def broken(:\n", "cannot be read"),
        ("x = 1\n", "no INFO"),
        ("INFO = 3\n", "INFO is not Info"),
        ("INFO = Info(summary=3)\n", "INFO is not Info"),
        ("INFO = Info(sumary='x')\n", "cannot be read"),
        ("INFO = Info(summary=str(3))\n", "cannot be read"),
        ("INFO = Info(summary='x', papers=Paper(title='t', authors='A B', year=1))\n", "cannot be read"),
        ("INFO = Info(summary='x', papers=(Paper(title='t', authors='', year=1),))\n", "papers of INFO"),
    ],
)
def test_a_file_without_a_readable_description_is_listed_with_its_problem(add, source: str, problem: str) -> None:
    name = add("broken_one", source)
    assert problem in registry.entry("method", name).problem
    with pytest.raises(InvalidEntry, match="broken_one"):
        registry.load("method", name)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise RuntimeError('boom')", "cannot be imported: RuntimeError.'boom'"),
        ("raise SystemExit(0)", "cannot be imported: SystemExit"),
        ("import module_that_is_not_there", "cannot be imported: ModuleNotFoundError"),
        ("class A(Method):\n    def sample(self, problem, nfe): ...\nclass B(A): ...", "exactly one Method, not 2"),
        ("", "exactly one Method, not 0"),
        ("class A(Method): ...", "exactly one Method, not 0"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(add, source: str, message: str, request) -> None:
    # modules of files given by path stay loaded, so every case has a name of its own
    name = add(f"broken_{abs(hash(request.node.name))}", f"{GOOD.partition('class')[0]}\n{source}\n")
    assert registry.entry("method", name).problem == ""
    for _attempt in range(2):
        with pytest.raises(InvalidEntry, match=message):
            registry.load("method", name)


def test_a_file_cannot_take_over_a_registered_name(add) -> None:
    with pytest.raises(UsageError, match="'ddim' is already a registered method"):
        add("ddim", GOOD)


@pytest.mark.parametrize("name", ["Upper", "with-dash", "1st", "with space"])
def test_a_file_name_is_a_key(add, name: str) -> None:
    with pytest.raises(UsageError, match="file name is its key"):
        add(name, GOOD)


def test_a_path_that_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a file"):
        registry.add_path("method", tmp_path)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("ddim[grid=karas]", "unknown grid 'karas'; did you mean karras"),
        ("heun[grid=karras[roh=5]]", "unknown parameter of grid karras 'roh'"),
        ("progressive[grid=karras[rho=seven]]", "must be numbers"),
        ("consistency[grid=user[sigmas=1/2]]", "strictly decreasing"),
    ],
)
def test_a_grid_is_checked_with_the_method(spec: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        registry.create("method", spec)
