"""The RMSE to the reference solution, as simply as it can be written: a metric that needs the solution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from bench.batch import Batch
from bench.info import Info
from bench.metrics.base import Estimate, Metric, Statistics

INFO = Info(summary="RMSE to the solution.")


@dataclass(frozen=True)
class Squares(Statistics):
    """Sum of squared errors and their number."""

    total: float
    count: int

    def __add__(self, other: Squares) -> Squares:
        return Squares(self.total + other.total, self.count + other.count)


class Gap(Metric[Squares]):
    """Root mean square over all elements."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    label: ClassVar[str] = "gap"
    space: ClassVar[Literal["features", "solution", "samples"]] = "solution"
    needs_reference: ClassVar[bool] = False

    def statistics(self, batch: Batch) -> Squares:
        assert batch.raw is not None and batch.solution is not None
        error = (batch.raw.double() - batch.solution.double()).square()
        return Squares(float(error.sum()), error.numel())

    def value(self, statistics: Squares, reference: Squares | None) -> Estimate:
        return Estimate((statistics.total / statistics.count) ** 0.5)
