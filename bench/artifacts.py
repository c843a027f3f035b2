"""Fitted artifacts on disk: ``<root>/<suite>/<method>/<artifact>.safetensors`` and, beside it, a JSON record.

The record says what the tensors are, what they cost and how they are made again; it carries their SHA-256. An artifact
that was fitted to another teacher or with other parameters is refused, never used silently. Nothing is ever unpickled.
Finding an artifact does not need torch.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import AssetError, OutputError, UsageError
from bench.registry import canonical, create
from bench.spec import parse
from bench.store import write_durable

if TYPE_CHECKING:
    from torch import Tensor

    from bench.api import Method
    from bench.suites.base import Suite

SHIPPED = Path(__file__).parent.parent / "methods" / "assets"
SCHEMA: Final = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")


class Mismatch(AssetError):
    """An artifact that is whole, but was fitted for other parameters of the suite or of the method."""


class Meta(BaseModel):
    """What an artifact is and what it has cost.

    Attributes:
        sha256: of the file with the tensors.
        suite: canonical spec of the suite; ``teacher`` is its ``teacher_id()``.
        method: canonical spec; ``params`` are all parameters that fitting depends on, as text.
        name, nfe, seed: of the artifact; the budget it was fitted for first.
        base: SHA-256 of the artifact it started from, or empty.
        fit_evals: network rows evaluated, teacher and student, those of ``base`` included.
        fit_images: training samples drawn, those of ``base`` included.
        fit_seconds: wall clock, that of ``base`` included.
        command: makes it again.
        environment: versions and processor; the same seed gives the same bits only there.
        created: UTC, ISO 8601.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA
    sha256: str = ""
    suite: str
    teacher: str
    method: str
    params: dict[str, str]
    name: str
    nfe: int
    seed: int
    base: str = ""
    fit_evals: int
    fit_images: int
    fit_seconds: float
    command: str
    environment: dict[str, Any]
    created: str


@dataclass(frozen=True)
class Artifact:
    """One artifact on disk, its digest verified when it was found and again when it is read."""

    path: Path
    meta: Meta

    @property
    def sha256(self) -> str:
        """The digest of the tensors; identifies the artifact in a cell."""
        return self.meta.sha256

    def tensors(self) -> dict[str, Tensor]:
        """The tensors.

        Raises:
            AssetError: the file is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            return load(_verified(self.path, self.meta))
        except SafetensorError as error:
            raise AssetError(f"{self.path} is not a safetensors file: {error}; make it again with bench fit") from error


def fit_params(method: Method) -> dict[str, str]:
    """All parameters that an artifact of this method depends on, defaults included, as text."""
    names = [name for name in type(method).model_fields if name not in method.sampling_only]
    return {name: str(getattr(method, name)) for name in names}


def locate(root: Path, *names: str) -> Path:
    """Where the artifact (suite name, method name, artifact name) lies.

    Raises:
        UsageError: a name that could lead out of the folder.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} cannot name an artifact; use lower-case letters, digits and underscores")
    return root.joinpath(*names).with_suffix(".safetensors")


def owner(method: Method, method_name: str, nfe: int) -> tuple[Method, str, int]:
    """The method, its key and the budget that an artifact was fitted for: another method's if this one borrows.

    Raises:
        UsageError: it borrows from a method that is not registered.
        Unsupported: this budget is not possible.
    """
    borrowed = method.borrows(nfe)
    if borrowed is None:
        return method, method_name, nfe
    spec = parse(borrowed[0])
    return create("method", spec), spec.name, borrowed[1]


def find(suite: Suite, method: Method, method_name: str, nfe: int, extra: Path | None = None) -> Artifact | None:
    """The artifact a method needs for a budget, from ``extra`` or else from those shipped.

    Args:
        suite, method: configured instances; ``method_name`` is the method's key.
        nfe: the budget.
        extra: a folder that is searched first.

    Returns:
        None if the method needs no artifact or there is none for these parameters.

    Raises:
        AssetError: there is one that is damaged, or one in ``extra`` that was made for something else.
        UsageError: ``extra`` is not a folder, or a name that cannot be a path.
        Unsupported: this budget is not possible.
    """
    method, method_name, nfe = owner(method, method_name, nfe)
    if extra is not None and not extra.is_dir():
        raise UsageError(f"{extra} is not a folder with artifacts; bench fit --out makes one")
    found = None if extra is None else load(extra, suite, method, method_name, nfe)
    if found is not None:
        return found
    try:
        return load(SHIPPED, suite, method, method_name, nfe)
    except Mismatch:
        return None  # we ship the defaults only; the user did not ask for this one


def load(root: Path, suite: Suite, method: Method, method_name: str, nfe: int) -> Artifact | None:
    """As ``find``, in one folder."""
    name = method.artifact_name(nfe)
    if not name:
        return None
    spec = suite_spec(suite)
    path = locate(root, parse(spec).name, method_name, name)
    record = path.with_suffix(".json")
    if not path.exists() and not record.exists():
        return None
    meta = _read(path, record)
    redo = f"make it again with bench fit --suite '{spec}' --methods '{canonical('method', method_name, method)}'"
    if (meta.suite, meta.teacher) != (spec, suite.teacher_id()):
        raise Mismatch(f"{path} was fitted to {meta.suite} (teacher {meta.teacher}), not to this {spec}; {redo}")
    wanted = fit_params(method)
    changed = [key for key in {**wanted, **meta.params} if wanted.get(key) != meta.params.get(key)]
    if changed:
        key = changed[0]
        raise Mismatch(f"{path} was fitted with {key}={meta.params.get(key)}, not {wanted.get(key)}; {redo}")
    _verified(path, meta)
    return Artifact(path, meta)


def save(root: Path, tensors: Mapping[str, Tensor], meta: Meta) -> Artifact:
    """Write an artifact; what was there is replaced, each file at once.

    Raises:
        OutputError: the folder cannot be written.
        UsageError: a name that cannot be a path.
    """
    from safetensors.torch import save as serialise

    path = locate(root, parse(meta.suite).name, parse(meta.method).name, meta.name)
    data = serialise({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    meta = meta.model_copy(update={"sha256": hashlib.sha256(data).hexdigest()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {path.parent}: {error.strerror}; give another folder with --out") from error
    write_durable(path, data)
    write_durable(path.with_suffix(".json"), (meta.model_dump_json(indent=1) + "\n").encode())
    return Artifact(path, meta)


def suite_spec(suite: Suite) -> str:
    """Canonical spec of a suite; its name is that of its file."""
    name = type(suite).__module__.rpartition(".")[2].removeprefix("bench_local_suite_")
    return canonical("suite", name, suite)


def _read(path: Path, record: Path) -> Meta:
    try:
        text = record.read_text(encoding="utf-8")
        return Meta.model_validate_json(text)
    except OSError as error:
        raise AssetError(f"{path} has no readable {record.name} beside it; make it again with bench fit") from error
    except ValidationError as error:
        raise AssetError(f"{record} is damaged or of another version of bench; make it again with bench fit") from error


def _verified(path: Path, meta: Meta) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AssetError(f"{path} cannot be read: {error.strerror}; make it again with bench fit") from error
    if hashlib.sha256(data).hexdigest() != meta.sha256:
        raise AssetError(f"{path} is damaged: the JSON beside it states another SHA-256; make it again with bench fit")
    return data
