"""The durable store: one JSON file per record, written by one process.

::

    <out>/.lock                       held (flock) while a run writes
    <out>/.scratch/                   what workers print; emptied when a run starts
    <out>/records/<cell id>.json      the record
    <out>/records/<cell id>.npz       arrays beside it: influence vector of the ranking metric, first pictures
    <out>/reference/<id>.npy  reference solutions, a cache

A file is written beside its place, flushed to the disk, and renamed: a reader, a crash or a full disk meets the old
content or the new. A record that cannot be read stops the run with a sentence: it may be all that is left of hours of
work, so neither computing it anew nor passing over it is done behind the user's back.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from bench.errors import OutputError
from bench.record import SCHEMA, Record

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

UPGRADES: dict[int, Upgrade] = {}
"""From a schema version to the next one, step by step; a row for every version that ever was, with a fixture."""


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durable(path: Path, data: bytes) -> None:
    """Write a file so that it is either all there, on the disk, or not there at all.

    Raises:
        OutputError: the folder cannot be written to, or is full; nothing is left behind.
    """
    write_pieces(path, [data])


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """``write_durable`` for what is too large to be held at once.

    Raises:
        OutputError: as ``write_durable``.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        reason = f"cannot write {path}: {error.strerror}; free space or give another folder with --out"
        raise OutputError(reason) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def upgrade(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """Bring a record of an older schema to the present one.

    Raises:
        OutputError: it is from a newer schema, or says none.
    """
    version = data.get("schema_version")
    if not isinstance(version, int) or version < 1:
        raise OutputError(f"{path} does not say which schema it follows; it is not a record of this program")
    if version > SCHEMA:
        raise OutputError(f"{path} has schema {version}, this version of bench reads up to {SCHEMA}; upgrade bench")
    for step in range(version, SCHEMA):
        data = UPGRADES[step](data) | {"schema_version": step + 1}
    return data


def read_record(path: Path) -> Record:
    """One record.

    Raises:
        OutputError: it cannot be read, is from a newer schema, or is not the record its name says.
    """
    advice = "restore it, or delete it to have its cell computed again"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        record = Record.model_validate(upgrade(data, path)) if isinstance(data, dict) else None
    except (OSError, ValueError, ValidationError) as error:
        raise OutputError(f"{path} cannot be read as a record ({type(error).__name__}); {advice}") from error
    if record is None or record.id != path.stem:
        raise OutputError(f"{path} is not the record its name says; {advice}")
    return record


def read_records(out: Path) -> dict[str, Record]:
    """All records of a folder by cell id; empty if there are none.

    Raises:
        OutputError: as ``read_record``.
    """
    return {path.stem: read_record(path) for path in sorted((out / "records").glob("[!.]*.json"))}


def current(records: Iterable[Record]) -> list[Record]:
    """The newest record of each thing asked for; code, weights or artifacts have changed since the others were made."""
    newest: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: record.created):
        asked = record.cell.model_dump_json(exclude={"suite_revision", "method_revision", "artifact"})
        newest[asked] = record
    return list(newest.values())


def read_array(out: Path, cell_id: str, name: str) -> NDArray[Any] | None:
    """One array beside a record; None if the cell has none of that name.

    ``influence`` is the (n,) float32 influence vector of the first metric with a number, ``preview`` the (n, C, H, W)
    uint8 pictures of the first samples, ``clips`` the same of clips, (n, F, C, H, W).

    Raises:
        OutputError: the file cannot be read.
    """
    path = out / "records" / f"{cell_id}.npz"
    if not path.exists():
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            return archive[name] if name in archive.files else None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        advice = f"delete it and {path.stem}.json to have the cell computed again"
        raise OutputError(f"{path} cannot be read; {advice}") from error


class Store:
    """The one writer of a folder; use as a context manager.

    Args:
        out: created if it is not there.

    Raises:
        OutputError: the folder cannot be made or written to, or another run is writing to it.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._lock: int | None = None

    def __enter__(self) -> Store:
        try:
            self.records.mkdir(parents=True, exist_ok=True)
            self.reference.mkdir(exist_ok=True)
            self._lock = os.open(self.out / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
            self._acquire(self._lock)
            self._clean()
        except OSError as error:
            self.__exit__()
            reason = f"cannot write to {self.out}: {error.strerror}; give another folder with --out"
            raise OutputError(reason) from error
        except OutputError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            os.close(self._lock)  # closing releases the lock
            self._lock = None

    @property
    def records(self) -> Path:
        """Where records are."""
        return self.out / "records"

    @property
    def reference(self) -> Path:
        """Where reference solutions are kept."""
        return self.out / "reference"

    @property
    def scratch(self) -> Path:
        """Where workers write what they print."""
        return self.out / ".scratch"

    def _acquire(self, handle: int) -> None:
        import fcntl  # not on every system; reading records needs none of this

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"another run is writing to {self.out}; wait for it, or give --out") from error

    def _clean(self) -> None:
        """Remove what a killed run has left, and see that the folder can be written to."""
        for folder in (self.records, self.reference):
            for path in folder.glob(".*.tmp"):
                path.unlink()
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        for folder in (self.records, self.reference):
            probe = folder / ".probe.tmp"
            probe.touch()
            probe.unlink()

    def save(self, record: Record, arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Make a record durable; its arrays come first, so that no record lacks them.

        Raises:
            OutputError: the disk is full or the folder cannot be written to.
        """
        if arrays:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, allow_pickle=False, **arrays)
            write_durable(self.records / f"{record.id}.npz", buffer.getvalue())
        text = record.model_dump_json(indent=1) + "\n"
        write_durable(self.records / f"{record.id}.json", text.encode())
