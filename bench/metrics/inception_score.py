r"""Inception score, with the suite's own classifier or Inception: confident on each sample, varied over all of them.

``IS = exp( mean_i KL(p_i || mean_j p_j) )`` (Salimans et al. 2016, arXiv 1606.03498, Sec. 4), over all samples at once.
The influence of sample i on log IS is ``KL(p_i || p) - log IS``: moving the mean p contributes nothing of first order.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np

from bench.batch import Batch
from bench.errors import UsageError
from bench.features.base import extract
from bench.info import Info, Paper
from bench.metrics._features import FeatureMetric, Rows, at_least
from bench.metrics._intervals import around, standard_error
from bench.metrics.base import Estimate

INFO = Info(
    summary="Inception score of the suite's classifier: the exponential of the mutual information of sample and class.",
    papers=(
        Paper(
            title="Improved Techniques for Training GANs",
            authors="Tim Salimans and Ian Goodfellow and Wojciech Zaremba and Vicki Cheung and Alec Radford "
            "and Xi Chen",
            year=2016,
            arxiv="1606.03498",
            equation="Sec. 4",
        ),
    ),
    requires=("features",),
)


class InceptionScore(FeatureMetric[Rows]):
    """Between 1 and the number of classes; over all samples at once, where others average the scores of ten parts."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    label: ClassVar[str] = "IS ({features})"
    rows: ClassVar[type[Rows]] = Rows
    needs_reference: ClassVar[bool] = False

    def statistics(self, batch: Batch) -> Rows:
        network = self.extractor()
        if network is None:
            return Rows.of(batch.probs, "class probabilities")
        if "probs" not in network.outputs:
            raise UsageError(f"{network.name} is not a classifier; write inception_score[features=inception]")
        return Rows.of(extract(network, batch, "probs"), "class probabilities")

    def value(self, statistics: Rows, reference: Rows | None) -> Estimate:
        at_least(1, statistics)
        p = statistics.double / statistics.double.sum(1, keepdims=True)
        ratio = np.divide(p, p.mean(0), out=np.ones_like(p), where=p > 0)  # 0 log 0 is 0
        divergence = (p * np.log(ratio)).sum(1)
        log_score = float(divergence.mean())
        value = math.exp(log_score)
        influence = divergence - log_score
        limits = around(log_score, standard_error(influence), 0.0, math.log(p.shape[1]))
        low, high = (math.exp(limit) for limit in limits)
        return Estimate(value, low, high, "delta method on log IS", influence=value * influence)
