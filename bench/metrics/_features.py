"""Statistics that keep one row of numbers per sample: what influence functions and nearest neighbours need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bench.metrics.base import Statistics


@dataclass(frozen=True, eq=False)
class Rows(Statistics):
    """Rows in the precision they came in; sums over them are made once all are there, so batches leave no trace.

    Attributes:
        rows: (n, d) float32 or float64.
    """

    rows: NDArray[np.float32] | NDArray[np.float64]

    def __add__(self, other: Self) -> Self:
        return type(self)(np.concatenate([self.rows, other.rows]))

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, values: Tensor | None, what: str) -> Self:
        """The rows of a tensor (B, ...), flattened to (B, d).

        Raises:
            ValueError: there is no such tensor.
        """
        if values is None:
            raise ValueError(f"this metric needs {what}, which the suite does not give")
        return cls(values.detach().cpu().flatten(1).numpy())

    @property
    def double(self) -> NDArray[np.float64]:
        """(n, d) float64; made anew at each call, as the reference is kept for long."""
        return self.rows.astype(np.float64)


def at_least(count: int, *statistics: Rows) -> None:
    """Check that there are enough samples.

    Raises:
        ValueError: a set has fewer than ``count``.
    """
    for rows in statistics:
        if len(rows) < count:
            raise ValueError(f"this metric needs at least {count} samples, not {len(rows)}")


def same_width(statistics: Rows, reference: Rows | None) -> Rows:
    """The reference, once it is known to live in the same space.

    Raises:
        ValueError: there is no reference, or its rows have another length.
    """
    if reference is None:
        raise ValueError("this metric needs reference data")
    if reference.rows.shape[1] != statistics.rows.shape[1]:
        raise ValueError(f"samples have {statistics.rows.shape[1]} numbers, the reference {reference.rows.shape[1]}")
    return reference
