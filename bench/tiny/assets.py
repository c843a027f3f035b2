"""The files of a small model: weights in float16 in diffusers' layout, and one record with every file's SHA-256."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from bench.errors import AssetError

RECORD: Final = "record.json"


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def text_digest(text: str) -> str:
    """SHA-256 of a text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def files_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path, but for the record and checkpoints of a training."""
    found = (path for path in folder.rglob("*") if path.is_file())
    paths = sorted(path for path in found if path.name != RECORD and path.suffix != ".checkpoint")
    return {path.relative_to(folder).as_posix(): digest(path) for path in paths}


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write the record of a folder whose other files are all there."""
    from bench.store import write_durable

    text = json.dumps({"files": files_of(folder), **record}, indent=1, sort_keys=True)
    write_durable(folder / RECORD, (text + "\n").encode())


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a folder.

    Raises:
        AssetError: it is missing or cannot be read.
    """
    path = folder / RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record["files"], dict):
            raise TypeError("files is not a table")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssetError(f"{path} cannot be read ({error!r}); restore it") from error
    return record


def verify(folder: Path) -> None:
    """Check every file against the record.

    Raises:
        AssetError: one is missing, or not what the record says.
    """
    for name, stated in read_record(folder)["files"].items():
        path = folder / name
        if not path.is_file():
            raise AssetError(f"{path} is missing; restore it")
        if digest(path) != stated:
            raise AssetError(f"{path} is not the file that {RECORD} describes (truncated or changed); restore it")


def subset(record: dict[str, Any], *prefixes: str) -> str:
    """A hash (hexadecimal digits) of the files whose paths begin with one of these."""
    lines = [f"{name} {value}" for name, value in sorted(record["files"].items()) if name.startswith(prefixes)]
    return text_digest("\n".join(lines))
