"""The families of pipelines, found by the names of the pipeline classes that they handle."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache

from bench.errors import unknown
from bench.pipelines.base import Pipeline


@cache
def families() -> dict[str, type[Pipeline]]:
    """Every pipeline class of diffusers that is known, and the family that handles it."""
    found: dict[str, type[Pipeline]] = {}
    for item in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{item.name}")
        for value in vars(module).values():
            own = isinstance(value, type) and value.__module__ == module.__name__
            if own and issubclass(value, Pipeline) and not inspect.isabstract(value):
                found.update(dict.fromkeys(value.classes, value))
    return found


def family_of(class_name: str) -> type[Pipeline]:
    """The family of a pipeline class.

    Raises:
        UsageError: no family handles it; says which are near.
    """
    known = families()
    if class_name not in known:
        raise unknown("pipeline class", class_name, known)
    return known[class_name]
