"""Rows of numbers that are needed again: in memory up to a limit, beyond it in a file without a name.

Host memory then does not grow with the number of samples, and nothing is left behind when the process dies, as the file
has no name. It is in Python's folder for temporary files (``TMPDIR``): where that is held in memory, name another.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from bench.errors import OutputError

LIMIT = 32 * 2**20
"""Bytes that are held in memory before the rows move to a file."""

Rows = NDArray[np.float32]


class Spool:
    """A table of float32 rows that only grows; close it, or use it as a context manager.

    Args:
        limit: bytes that may be held in memory.
        folder: where the temporary file is made; Python's own choice by default.
    """

    def __init__(self, limit: int = LIMIT, folder: str | os.PathLike[str] | None = None) -> None:
        self._limit = limit
        self._folder = folder
        self._width: int | None = None
        self._count = 0
        self._memory = bytearray()
        self._file: BinaryIO | None = None

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def width(self) -> int:
        """Numbers in a row; 0 before the first."""
        return self._width or 0

    @property
    def on_disk(self) -> bool:
        """Whether the rows have moved to a file."""
        return self._file is not None

    def append(self, rows: NDArray[np.floating[Any]]) -> None:
        """Add rows (n, d); other precisions are rounded to float32.

        Raises:
            ValueError: they are not a table, or of another width than those that are here.
            OutputError: the temporary file cannot be written; what was here before is still here.
        """
        rows = np.ascontiguousarray(rows, dtype="<f4")
        if rows.ndim != 2 or self._width not in (None, rows.shape[1]):
            raise ValueError(f"rows of shape {rows.shape} do not fit a table of width {self._width}")
        self._width = rows.shape[1]
        try:
            self._write(rows)
        except OSError as error:
            where = self._folder or tempfile.gettempdir()
            raise OutputError(
                f"cannot write temporary rows in {where}: {error.strerror}; free space or set TMPDIR to another folder"
            ) from error
        self._count += len(rows)

    def extend(self, other: Spool) -> None:
        """Add all rows of another table."""
        for rows in other.chunks():
            self.append(rows)

    def _write(self, rows: Rows) -> None:
        if self._file is None and self._count * self.width * 4 + rows.nbytes <= self._limit:
            self._memory += rows.data.cast("B") if rows.size else b""
            return
        if self._file is None:
            file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - lives as long as the table
            try:
                _write_at(file, self._memory, 0)
            except OSError:
                file.close()
                raise
            self._file, self._memory = file, bytearray()
        _write_at(self._file, rows.tobytes(), self._count * self.width * 4)

    def rows(self, start: int, stop: int) -> Rows:
        """A copy (stop - start, d) of neighbouring rows; bounds beyond the end are cut, as in a slice."""
        start, stop, _ = slice(start, stop).indices(self._count)
        first, size = start * self.width * 4, max(0, stop - start) * self.width * 4
        if self._file is None:
            data = bytes(memoryview(self._memory)[first : first + size])
        else:
            data = _read_at(self._file, first, size)
        return np.frombuffer(bytearray(data), "<f4").reshape(-1, self.width) if data else self._none()

    def _none(self) -> Rows:
        return np.zeros((0, self.width), np.float32)

    def take(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> Rows:
        """The rows (len(indices), d) with these numbers, in this order.

        Raises:
            IndexError: there is no such row; negative numbers count from the end.
        """
        found = np.empty((len(indices), self.width), np.float32)
        for place, index in enumerate(indices):
            if not -self._count <= index < self._count:
                raise IndexError(f"row {index} of {self._count}")
            row = int(index) % self._count
            found[place] = self.rows(row, row + 1)[0]
        return found

    def chunks(self, size: int = 4096) -> Iterator[Rows]:
        """All rows in order, at most ``size`` at a time."""
        for start in range(0, self._count, size):
            yield self.rows(start, start + size)

    def all(self) -> Rows:
        """All rows (n, d) at once, in memory."""
        return self.rows(0, self._count)

    def close(self) -> None:
        """Let go of the rows; the table is empty then."""
        if self._file is not None:
            self._file.close()
        self._file, self._memory, self._count = None, bytearray(), 0


def _write_at(file: BinaryIO, data: bytes | bytearray, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(file.fileno(), view, offset)
        view, offset = view[done:], offset + done


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.pread(file.fileno(), size, offset)
        if not part:
            raise OutputError("temporary rows have been cut off from outside; run again")
        parts.append(part)
        offset, size = offset + len(part), size - len(part)
    return b"".join(parts)
