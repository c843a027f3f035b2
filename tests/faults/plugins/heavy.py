"""A metric that runs out of GPU memory on more than a few samples at once."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from bench.batch import Batch
from bench.info import Info
from bench.metrics._features import Rows
from bench.metrics.base import Estimate, Metric, Space

INFO = Info(summary="Counts samples, a few at a time.")


class Heavy(Metric[Rows]):
    """The number of samples."""

    fits: int = 2

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    label: ClassVar[str] = "heavy"
    space: ClassVar[Space] = "samples"
    needs_reference: ClassVar[bool] = False

    def statistics(self, batch: Batch) -> Rows:
        if len(batch.samples) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return Rows.of(batch.samples, "samples")

    def value(self, statistics: Rows, reference: Rows | None) -> Estimate:
        return Estimate(float(len(statistics)))
