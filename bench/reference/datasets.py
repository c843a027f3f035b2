"""Data sets of torchvision and of the Hugging Face hub as sources of images; nothing comes from the network unasked."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import AssetError, UsageError, unknown
from bench.reference.images import Pixels, decode
from bench.reference.sources import Item, Source
from bench.weightstore.download import offline

if TYPE_CHECKING:
    from PIL.Image import Image

COMMIT = re.compile(r"[0-9a-f]{40}")


def _pixels(image: Image | Pixels) -> Pixels:
    return image if isinstance(image, np.ndarray) else decode(image)


def torchvision(name: str, choices: dict[str, str]) -> Source:
    """A data set of ``torchvision.datasets``, from the files that are in ``root``.

    Args:
        name: of its class.
        choices: ``root`` (``data`` by default), ``split``, and other parameters of the class.

    Raises:
        UsageError: torchvision is not installed, or has no such data set or parameter.
        AssetError: its files are not there.
    """
    try:
        datasets = import_module("torchvision.datasets")
    except ImportError as error:
        raise UsageError("torchvision is not installed; run pip install 'fewstep-bench[metrics]'") from error
    if name not in datasets.__all__:
        raise unknown("data set of torchvision", name, datasets.__all__)
    cls = getattr(datasets, name)
    arguments = _arguments(name, set(inspect.signature(cls).parameters), choices)
    try:
        found = cls(**arguments)
    except (RuntimeError, FileNotFoundError, ValueError, TypeError) as error:
        where = arguments.get("root", "its place")
        raise AssetError(
            f"torchvision's {name} cannot be read from {where} ({_first_line(error)}); put it there, or name "
            f"its folder with ?root=DIR"
        ) from error

    def items() -> Iterator[Item]:
        for number in range(len(found)):
            yield f"{name}[{number}]", lambda number=number: _pixels(found[number][0])  # type: ignore[misc]

    return Source("torchvision", name, items, {key: value for key, value in choices.items() if key != "root"})


def _arguments(name: str, parameters: set[str], choices: dict[str, str]) -> dict[str, Any]:
    given: dict[str, Any] = dict(choices)
    if "train" in parameters and "split" in given:
        split = given.pop("split")
        if split not in ("train", "test"):
            raise UsageError(f"torchvision's {name} has the splits train and test, not {split!r}")
        given["train"] = split == "train"
    if "root" in parameters:
        given.setdefault("root", "data")
    for key, value in given.items():
        if key not in parameters or key in ("download", "transform", "target_transform", "loader"):
            raise unknown(f"parameter of torchvision's {name}", key, parameters | {"split"})
        given[key] = int(value) if isinstance(value, str) and value.isdigit() else value
    return given


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def hugging_face(name: str, choices: dict[str, str]) -> Source:
    """A data set of the hub at a pinned revision, streamed.

    Args:
        name: owner and name.
        choices: ``revision`` (a whole commit), ``split`` (``train`` by default), ``config``, ``column``.

    Raises:
        UsageError: no revision is pinned, the package is not installed, or there is no such column.
        AssetError: it cannot be reached.
    """
    for key in choices:
        if key not in ("revision", "split", "config", "column"):
            raise unknown("parameter of a Hugging Face data set", key, ("revision", "split", "config", "column"))
    if not COMMIT.fullmatch(choices.get("revision", "")):
        raise UsageError(
            f"hf:{name} may change; pin it with ?revision= and the 40 digits of a commit of its repository"
        )
    if offline():
        raise AssetError(f"hf:{name} needs the network and {offline()} is set; unset it, or build from a local folder")
    try:
        load_dataset = import_module("datasets").load_dataset
    except ImportError as error:
        raise UsageError("Hugging Face data sets need a package; run pip install datasets") from error
    split, column = choices.get("split", "train"), choices.get("column", "image")
    try:
        rows = load_dataset(  # streamed: the whole is neither downloaded nor held; old versions run a script unasked
            name,
            choices.get("config"),
            split=split,
            revision=choices["revision"],
            streaming=True,
            trust_remote_code=False,
        )
        columns = rows.column_names
    except Exception as error:  # the package has its own errors for each way of not reaching the hub
        raise AssetError(
            f"hf:{name} cannot be had ({_first_line(error)}); check name and network, or use a local folder"
        ) from error
    if columns is not None and column not in columns:
        raise unknown(f"column of hf:{name}", column, columns)
    return Source("hf", name, lambda: _streamed(name, rows, column), {"split": split, "column": column, **choices})


def _streamed(name: str, rows: Iterable[dict[str, Any]], column: str) -> Iterator[Item]:
    count = 0
    try:
        for row in rows:
            yield f"hf:{name}[{count}]", lambda row=row: _pixels(row[column])  # type: ignore[misc]
            count += 1
    except Exception as error:  # the network, or an image that the package itself cannot decode
        raise AssetError(
            f"hf:{name} broke off after {count:,} images ({_first_line(error)}); run it again, or use a local folder"
        ) from error
