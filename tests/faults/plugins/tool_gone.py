"""A metric that needs weights which no test machine has."""

from __future__ import annotations

from typing import ClassVar, Literal

from bench.batch import Batch
from bench.info import Info
from bench.metrics._features import Rows
from bench.metrics.base import Estimate, Metric, Space

INFO = Info(summary="Needs the weights of Inception.")


class ToolGone(Metric[Rows]):
    """Never computed without its weights."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    label: ClassVar[str] = "tool gone"
    space: ClassVar[Space] = "samples"
    needs_reference: ClassVar[bool] = False

    def weights(self) -> tuple[str, ...]:
        return ("inception-v3-tf",)

    def statistics(self, batch: Batch) -> Rows:
        raise AssertionError("it has no weights")

    def value(self, statistics: Rows, reference: Rows | None) -> Estimate:
        raise AssertionError("it has no weights")
