"""Where cases are found: one module for each solver, here or in a third party's package.

A package that adds a solver by the entry point group ``bench.methods`` adds its reference by ``bench.parity``, with the
solver's name and a module that has ``CASES``. Recorded numbers of such a module lie beside it, in ``recorded/``.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from bench.errors import unknown
from bench.parity.case import Case

GROUP = "bench.parity"
FOLDER = Path(__file__).parent


@cache
def _built_in() -> frozenset[str]:
    found = pkgutil.iter_modules([str(FOLDER / "cases")])
    return frozenset(module.name for module in found if not module.name.startswith("_"))


@cache
def _installed() -> dict[str, EntryPoint]:
    """Third parties' modules; our own names cannot be taken over."""
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in _built_in()}


def modules() -> list[str]:
    """Names of the modules of cases, which are names of solvers."""
    return sorted({*_built_in(), *_installed()})


def _module(name: str) -> ModuleType:
    if name in _built_in():
        return importlib.import_module(f"bench.parity.cases.{name}")
    if name not in _installed():
        raise unknown("solver with a reference", name, modules())
    return importlib.import_module(_installed()[name].module)


def cases(module: str) -> tuple[Case, ...]:
    """The cases of one solver.

    Raises:
        UsageError: it has none; says which names are near.
    """
    found: tuple[Case, ...] = _module(module).CASES
    return found


def recording(module: str) -> Path:
    """The file of a solver's recorded numbers, which need not exist.

    Raises:
        UsageError: the solver has no cases.
    """
    if module in _built_in():
        return FOLDER / "recorded" / f"{module}.json"
    return Path(str(_module(module).__file__)).parent / "recorded" / f"{module}.json"
