"""LAION's aesthetic score of pictures, whatever their captions."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bench.batch import Batch
from bench.features.aesthetic import Aesthetic
from bench.features.base import extract
from bench.info import Info
from bench.metrics._scores import ScoreMetric

INFO = Info(
    summary="LAION's aesthetic predictor (sac+logos+ava1, CLIP ViT-L/14), averaged over samples; optional.",
    requires=("images",),
)


class AestheticScore(ScoreMetric):
    """The mean over samples, about 1 to 10."""

    label: ClassVar[str] = "Aesthetic score"

    def extractor(self) -> Aesthetic:
        return Aesthetic()

    def scores(self, batch: Batch) -> Tensor:
        return extract(self.extractor(), batch)[:, 0]
