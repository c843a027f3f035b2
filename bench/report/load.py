"""Records and what lies beside them, read for a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import OutputError
from bench.record import Record
from bench.store import read_array, read_records


@dataclass(frozen=True)
class Results:
    """The records of one folder.

    Attributes:
        out: the folder of the run.
        records: in the order of their ids.
    """

    out: Path
    records: tuple[Record, ...]

    def influence(self, record: Record) -> NDArray[np.float64] | None:
        """(n,) influence of each sample on the first metric of a record that has a number; None if there is none."""
        found = read_array(self.out, record.id, "influence")
        return None if found is None else found.astype(np.float64)

    def preview(self, record: Record) -> NDArray[np.uint8] | None:
        """(n, C, H, W) the first samples of a record's cell as pictures; None if there are none."""
        return read_array(self.out, record.id, "preview")

    def clips(self, record: Record) -> NDArray[np.uint8] | None:
        """(n, F, C, H, W) the first samples of a record's cell as small clips; None if there are none."""
        return read_array(self.out, record.id, "clips")


def load(out: Path) -> Results:
    """Read the records of a folder.

    Raises:
        OutputError: it is not a folder, holds no records, or one of them cannot be read.
    """
    if not out.is_dir():
        raise OutputError(f"{out} is not a directory; give the directory that a run wrote, such as runs/default")
    records = read_records(out)
    if not records:
        raise OutputError(f"{out} holds no records; run `bench run --out {out}` first, or give another directory")
    return Results(out, tuple(records[key] for key in sorted(records)))
