"""The mean norm of the samples: a metric that costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from bench.batch import Batch
from bench.info import Info
from bench.metrics.base import Estimate, Metric, Statistics

INFO = Info(summary="Mean norm.")


@dataclass(frozen=True)
class Norms(Statistics):
    """The norms seen."""

    norms: tuple[float, ...]

    def __add__(self, other: Norms) -> Norms:
        return Norms(self.norms + other.norms)


class MeanNorm(Metric[Norms]):
    """Mean of the norms."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    label: ClassVar[str] = "norm ({features})"
    space: ClassVar[Literal["features", "solution", "samples"]] = "samples"
    needs_reference: ClassVar[bool] = False

    def statistics(self, batch: Batch) -> Norms:
        return Norms(tuple(batch.samples.double().flatten(1).norm(dim=1).tolist()))

    def value(self, statistics: Norms, reference: Norms | None) -> Estimate:
        norms = np.array(statistics.norms)
        return Estimate(float(norms.mean()), influence=norms - norms.mean())
