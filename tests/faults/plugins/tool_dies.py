"""A metric whose outside tool dies."""

from __future__ import annotations

from typing import ClassVar, Literal

from bench.batch import Batch
from bench.errors import AssetError
from bench.info import Info
from bench.metrics._features import Rows
from bench.metrics.base import Estimate, Metric, Space

INFO = Info(summary="Its worker dies.")


class ToolDies(Metric[Rows]):
    """Dies in ``statistics`` or in ``value``."""

    when: Literal["statistics", "value"] = "value"

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    label: ClassVar[str] = "tool dies"
    space: ClassVar[Space] = "samples"
    needs_reference: ClassVar[bool] = False

    def statistics(self, batch: Batch) -> Rows:
        if self.when == "statistics":
            raise AssetError("the worker died in statistics")
        return Rows.of(batch.samples, "samples")

    def value(self, statistics: Rows, reference: Rows | None) -> Estimate:
        raise AssetError("the worker died in value")
