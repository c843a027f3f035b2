"""Extractors by name: the value of ``features=`` in a metric, and what reference statistics are built with."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from bench.errors import UsageError, unknown
from bench.features.base import Extractor
from bench.features.clip import OpenClip
from bench.features.dinov2 import Dinov2
from bench.features.i3d import I3D
from bench.features.inception import Inception
from bench.spec import Spec, parse

KNOWN: dict[str, type[Extractor]] = {"inception": Inception, "dinov2": Dinov2, "clip": OpenClip}
"""Of images."""
OF_CLIPS: dict[str, type[Extractor]] = {"i3d": I3D}


def create(text: str, known: Mapping[str, type[Extractor]] = KNOWN) -> Extractor:
    """The extractor of a spec such as ``inception[resize=legacy]``.

    Args:
        text: the spec.
        known: those that may be named.

    Raises:
        UsageError: an unknown name or parameter, or a value that is not allowed.
    """
    spec = parse(text)
    if spec.name not in known:
        raise unknown("feature network", spec.name, known)
    cls = known[spec.name]
    for key, _ in spec.params:
        if key not in cls.model_fields:
            raise unknown(f"parameter of {spec.name}", key, cls.model_fields)
    try:
        return cls(**dict(spec.params))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its parameters"
        raise UsageError(f"feature network {spec.name}: {where}: {first['msg']}, not {first.get('input')!r}") from error


def canonical(text: str) -> str:
    """The spec with the parameters that differ from the defaults, in declared order.

    Raises:
        UsageError: as for ``create``.
    """
    extractor = create(text)
    fields = type(extractor).model_fields
    values = {key: getattr(extractor, key) for key in fields}
    changed = tuple((key, str(value)) for key, value in values.items() if value != fields[key].default)
    return str(Spec(parse(text).name, changed))
