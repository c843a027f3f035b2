"""HPS v2.1: a CLIP ViT-H/14 tuned to human preferences, for a picture and its prompt."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bench.batch import Batch
from bench.features.preference import HPS
from bench.info import Info, Paper
from bench.metrics._scores import ScoreMetric, cosines

INFO = Info(
    summary="Human preference score v2.1 of a picture for its prompt (a cosine), averaged over samples; optional.",
    papers=(
        Paper(
            title="Human Preference Score v2: A Solid Benchmark for Evaluating Human Preferences of Text-to-Image "
            "Synthesis",
            authors="Xiaoshi Wu and Yiming Hao and Keqiang Sun and Yixiong Chen and Feng Zhu and Rui Zhao "
            "and Hongsheng Li",
            year=2023,
            arxiv="2306.09341",
            code="tgxs002/HPSv2",
        ),
    ),
    requires=("images", "prompts"),
)


class HPSv2(ScoreMetric):
    """The mean over samples, about 0.2 to 0.35."""

    label: ClassVar[str] = "HPS v2.1"

    def extractor(self) -> HPS:
        return HPS()

    def scores(self, batch: Batch) -> Tensor:
        return cosines(self.extractor(), batch)
