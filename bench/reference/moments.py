"""Mean and covariance of a stream of features, in memory that does not grow with it.

Rows are merged in blocks of fixed length by the pairwise update of Chan, Golub and LeVeque (1979), in float64: no
cancellation as in the sum of squares, and no dependence on how the stream was cut into batches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.errors import AssetError, UsageError

BLOCK = 1024


class Moments:
    """Streaming statistics, and a uniform sample of the rows (Vitter's algorithm R).

    Args:
        keep: rows to sample; none if 0.
        seed: of the sample.
    """

    def __init__(self, keep: int = 0, seed: int = 0) -> None:
        self.count = 0
        self._keep = keep
        self._draw = np.random.default_rng(seed)
        self._sample: list[NDArray[np.float32]] = []
        self._waiting: list[NDArray[np.float32]] = []
        self._merged = 0
        self._mean = np.zeros(0)
        self._scatter = np.zeros((0, 0))

    def add(self, rows: NDArray[np.float32]) -> None:
        """Take rows (B, d) into account.

        Raises:
            AssetError: a number is not finite.
        """
        if not np.isfinite(rows).all():
            raise AssetError("the extractor gives numbers that are not finite; its weights are damaged: verify them")
        for row in np.asarray(rows, np.float32):
            self._waiting.append(row)
            self._choose(row)
            self.count += 1
            if len(self._waiting) == BLOCK:
                self._merge()

    def _choose(self, row: NDArray[np.float32]) -> None:
        if len(self._sample) < self._keep:
            self._sample.append(row.copy())
        elif self._keep:
            place = int(self._draw.integers(self.count + 1))
            if place < self._keep:
                self._sample[place] = row.copy()

    def _merge(self) -> None:
        rows = np.stack(self._waiting).astype(np.float64)
        self._waiting = []
        mean = rows.mean(0)
        centred = rows - mean
        if not self._merged:
            self._mean, self._scatter = mean, centred.T @ centred
        else:
            shift = mean - self._mean
            total = self._merged + len(rows)
            self._scatter += centred.T @ centred
            self._scatter += np.outer(shift, shift) * (self._merged * len(rows) / total)
            self._mean = self._mean + shift * (len(rows) / total)
        self._merged += len(rows)

    def finish(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32] | None]:
        """Mean (d,), covariance (d, d) divided by n - 1, and the sampled rows or None.

        Raises:
            UsageError: there are fewer than two rows.
        """
        if self.count < 2:
            raise UsageError(f"statistics need at least 2 images, there is {self.count}; name another source")
        if self._waiting:
            self._merge()
        covariance = self._scatter / (self.count - 1)
        sample = np.stack(self._sample) if self._sample else None
        return self._mean, (covariance + covariance.T) / 2, sample
