"""Share of samples that the suite's classifier takes for what they were asked to be."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from bench.batch import Batch, Lacking
from bench.info import Info
from bench.metrics._features import Rows, at_least
from bench.metrics._intervals import wilson
from bench.metrics.base import Estimate, Metric

INFO = Info(
    summary="Share of samples whose most probable class, by the suite's classifier, is the one asked for.",
    requires=("features", "labels"),
)


class ClassAccuracy(Metric[Rows]):
    """``mean_i [argmax p_i = label_i]``; each row of the statistics is one hit (1) or miss (0)."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    label: ClassVar[str] = "Class accuracy ({features})"
    space: ClassVar[Literal["features", "solution", "samples"]] = "features"
    needs_reference: ClassVar[bool] = False

    def statistics(self, batch: Batch) -> Rows:
        if batch.probs is None or batch.label is None:
            raise Lacking("class accuracy needs class probabilities and labels, which the suite does not give")
        hit = batch.probs.argmax(1).cpu() == batch.label.cpu()
        return Rows.of(hit[:, None].double(), "hits")

    def value(self, statistics: Rows, reference: Rows | None) -> Estimate:
        at_least(1, statistics)
        hit = statistics.double[:, 0]
        value = float(hit.mean())
        low, high = wilson(int(np.count_nonzero(hit)), len(hit))
        return Estimate(value, low, high, "Wilson", influence=hit - value)
