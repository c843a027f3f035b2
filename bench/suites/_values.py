"""Values of parameters that suites on pipelines share."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from bench.quoting import protect, unquote
from bench.reference.statistics import Reference, load
from bench.spec import split_top

Text = Annotated[str, BeforeValidator(lambda value: protect(value) if isinstance(value, str) else value)]
"""Text as it stands in a spec, see ``bench.quoting``."""


class Specs(tuple[str, ...]):
    """Specs that are written ``fid;clip_score[template=a]`` as the value of a parameter."""

    def __str__(self) -> str:
        return ";".join(self).replace("%", "%25")  # brackets that match may stand in a value

    def __repr__(self) -> str:
        return f"Specs({super().__repr__()})"


def split(value: Any) -> Any:
    """The specs in a value; what is no text stays as it is."""
    return split_top(unquote(value), ";") if isinstance(value, str) else value


SpecList = Annotated[tuple[str, ...], BeforeValidator(split), AfterValidator(Specs)]


def read_references(value: str) -> tuple[Reference, ...]:
    """The files of reference statistics in a value, separated by ``;``, each read once per process.

    Raises:
        AssetError: a file is missing or damaged.
    """
    return tuple(_reference(path.strip()) for path in unquote(value).split(";") if path.strip())


@cache
def _reference(path: str) -> Reference:
    return load(Path(path))
