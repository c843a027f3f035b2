"""Statistics that keep one row of numbers per sample: what influence functions and nearest neighbours need."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from bench.batch import Batch, Lacking
from bench.errors import UsageError
from bench.features import named
from bench.features.base import Extractor, extract
from bench.metrics.base import Metric, Space, Statistics
from bench.reference.statistics import Reference
from bench.spool import Spool

Array = NDArray[np.float64]
BLOCK = 2**20
"""Numbers that are made float64 at once; what is smaller is handled in one piece."""
ROWS = 8192
MEMORY = 2**22
"""Bytes of rows that a metric holds in memory before they move to a file without a name."""


class _Table(Spool):
    """A spool that closes its file with itself: statistics have no owner who would."""

    def __del__(self) -> None:
        self.close()


class Rows(Statistics):
    """Rows in the precision they came in; sums over them are made once all are there, so batches leave no trace.

    Float32 rows, of which there may be many, are in a ``Spool``: in memory up to a limit, then in a temporary file.
    Adding appends to the spool of the left side, whose own rows stay as they were.

    Args:
        rows: (n, d) float32 or float64, or a spool.
        count: how many rows of the spool are these; all by default.
    """

    def __init__(self, rows: NDArray[np.float32] | Array | Spool, count: int | None = None) -> None:
        self._store = rows
        self._count = len(rows) if count is None else count

    def __add__(self, other: Self) -> Self:
        if self._double or other._double:
            return type(self)(np.concatenate([self.rows, other.rows]))
        spool = self._store
        if not isinstance(spool, Spool) or len(spool) != self._count:  # someone has appended to it already
            spool = _Table(MEMORY)
            self._copy_to(spool)
        other._copy_to(spool)
        return type(self)(spool)

    def __len__(self) -> int:
        return self._count

    @property
    def _double(self) -> bool:
        return not isinstance(self._store, Spool) and self._store.dtype != np.float32

    def _copy_to(self, spool: Spool) -> None:
        for start in range(0, self._count, ROWS):
            spool.append(self._part(start, min(start + ROWS, self._count)))

    def _part(self, start: int, stop: int) -> NDArray[np.float32] | Array:
        return self._store.rows(start, stop) if isinstance(self._store, Spool) else self._store[start:stop]

    @classmethod
    def of(cls, values: Tensor | None, what: str) -> Self:
        """The rows of a tensor (B, ...), flattened to (B, d).

        Raises:
            Lacking: there is no such tensor.
        """
        if values is None:
            raise Lacking(f"this metric needs {what}, which the suite does not give")
        return cls(values.detach().cpu().flatten(1).numpy())

    @property
    def rows(self) -> NDArray[np.float32] | Array:
        """(n, d), all of them in memory."""
        return self._part(0, self._count)

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return self._store.width if isinstance(self._store, Spool) else self._store.shape[1]

    @property
    def double(self) -> Array:
        """(n, d) float64; made anew at each call, as the reference is kept for long."""
        return self.rows.astype(np.float64)

    def chunks(self) -> Iterator[tuple[slice, Array]]:
        """All rows in order as float64, in pieces of at most ``BLOCK`` numbers."""
        size = max(1, min(ROWS, BLOCK // max(1, self.width)))
        for start in range(0, self._count, size):
            stop = min(start + size, self._count)
            yield slice(start, stop), self._part(start, stop).astype(np.float64)


def at_least(count: int, *statistics: Rows) -> None:
    """Check that there are enough samples.

    Raises:
        Lacking: a set has fewer than ``count``.
    """
    for rows in statistics:
        if len(rows) < count:
            raise Lacking(f"this metric needs at least {count} samples, not {len(rows)}")


def same_width(statistics: Rows, reference: Rows | None) -> Rows:
    """The reference, once it is known to live in the same space.

    Raises:
        Lacking: there is no reference, or its rows have another length.
    """
    if reference is None:
        raise Lacking("this metric needs reference data")
    if reference.width != statistics.width:
        raise Lacking(f"samples have {statistics.width} numbers, the reference {reference.width}")
    return reference


R = TypeVar("R", bound=Rows)


class NetworkMetric(Metric[R]):
    """A metric of features; of the suite's network, or of one that has a definition of its own.

    Class attributes:
        rows: the class of the statistics.
    """

    rows: ClassVar[type[Rows]]

    @abstractmethod
    def extractor(self) -> Extractor | None:
        """The network; None for the suite's own."""

    def network_id(self) -> str:
        network = self.extractor()
        return network.id if network else ""

    def weights(self) -> tuple[str, ...]:
        network = self.extractor()
        return network.weights() if network else ()

    def problem(self) -> str:
        network = self.extractor()
        return network.problem() if network else ""

    def statistics(self, batch: Batch) -> R:
        network = self.extractor()
        found = extract(network, batch) if network else batch.features
        return self.rows.of(found, "features")  # type: ignore[return-value]

    def check(self, reference: Reference) -> None:
        """Refuse statistics of another extractor.

        Raises:
            UsageError: they were made by another one; says by which.
        """
        network = self.network_id()
        if not network:
            raise UsageError(f"{type(self).__name__} is in the suite's own features; no file of statistics serves it")
        reference.check(network)

    def reference(self, reference: Reference) -> R:
        self.check(reference)
        if reference.features is None:
            raise UsageError(
                f"reference {reference.id} has mean and covariance only, and {type(self).__name__} needs the features "
                f"themselves; build it again with features"
            )
        return self.rows(reference.features)  # type: ignore[return-value]


class FeatureMetric(NetworkMetric[R]):
    """A metric that takes any features.

    Attributes:
        features: ``suite`` for the suite's own network, or a network such as ``inception[resize=clean]``.
    """

    space: ClassVar[Space] = "features"

    features: str = Field(default="suite")

    @field_validator("features")
    @classmethod
    def _canonical(cls, value: str) -> str:
        return value if value == "suite" else named.canonical(value)

    def extractor(self) -> Extractor | None:
        return None if self.features == "suite" else named.create(self.features)
