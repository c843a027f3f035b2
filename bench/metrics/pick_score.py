"""PickScore: what people preferred in the Pick-a-Pic collection, for a picture and its prompt."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bench.batch import Batch
from bench.features.preference import PickScore
from bench.info import Info, Paper
from bench.metrics._scores import ScoreMetric, cosines

INFO = Info(
    summary="PickScore v1 of a picture for its prompt (about 100 times a cosine), averaged over samples; optional.",
    papers=(
        Paper(
            title="Pick-a-Pic: An Open Dataset of User Preferences for Text-to-Image Generation",
            authors="Yuval Kirstain and Adam Polyak and Uriel Singer and Shahbuland Matiana and Joe Penna "
            "and Omer Levy",
            year=2023,
            arxiv="2305.01569",
            code="yuvalkirstain/PickScore",
        ),
    ),
    requires=("images", "prompts"),
)


class PickScoreMetric(ScoreMetric):
    """The mean over samples, about 17 to 24."""

    label: ClassVar[str] = "PickScore"

    def extractor(self) -> PickScore:
        return PickScore()

    def scores(self, batch: Batch) -> Tensor:
        return cosines(self.extractor(), batch)
