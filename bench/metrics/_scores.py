"""Metrics that give every sample a score of its own, and are its mean."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bench.batch import Batch, Lacking
from bench.features.base import Extractor, extract, network
from bench.features.clip import ClipNetwork
from bench.metrics._features import Rows, at_least
from bench.metrics._intervals import around, standard_error
from bench.metrics.base import Estimate, Metric, Space


def mean_of(scores: NDArray[np.float64]) -> Estimate:
    """The mean of scores (n,) with its normal interval."""
    value = float(scores.mean())
    influence = scores - value
    low, high = around(value, standard_error(influence))
    return Estimate(value, low, high, "normal, over samples", influence=influence)


class ScoreMetric(Metric[Rows]):
    """The mean over samples of a network's score."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    space: ClassVar[Space] = "images"
    needs_reference: ClassVar[bool] = False

    @abstractmethod
    def extractor(self) -> Extractor:
        """The network."""

    @abstractmethod
    def scores(self, batch: Batch) -> Tensor:
        """(B,) the scores of a batch.

        Raises:
            Lacking: the batch lacks what this metric needs.
        """

    def network_id(self) -> str:
        return self.extractor().id

    def weights(self) -> tuple[str, ...]:
        return self.extractor().weights()

    def problem(self) -> str:
        return self.extractor().problem()

    def statistics(self, batch: Batch) -> Rows:
        return Rows.of(self.scores(batch).double()[:, None], "scores")

    def value(self, statistics: Rows, reference: Rows | None) -> Estimate:
        at_least(1, statistics)
        return mean_of(statistics.double[:, 0])


def captions(batch: Batch) -> tuple[str, ...]:
    """The prompts of a batch.

    Raises:
        Lacking: it has none.
    """
    if batch.prompts is None:
        raise Lacking("this metric needs prompts, which the suite does not give")
    return batch.prompts


def cosines(extractor: Extractor, batch: Batch) -> Tensor:
    """(B,) float64: pictures against their prompts, times the network's temperature.

    Raises:
        Lacking: the batch has no images or no prompts.
    """
    prompts = captions(batch)
    images = extract(extractor, batch)
    judge = network(extractor)
    assert isinstance(judge, ClipNetwork)
    return judge.temperature * (images.double() * judge.texts(prompts).double()).sum(1)
