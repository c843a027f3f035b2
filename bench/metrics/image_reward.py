"""ImageReward 1.0: a BLIP tuned to human preferences, for a picture and its prompt."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bench.batch import Batch, Lacking
from bench.features.base import network
from bench.features.image_reward import ImageReward, RewardNetwork
from bench.info import Info, Paper
from bench.metrics._scores import ScoreMetric, captions

INFO = Info(
    summary="ImageReward 1.0 of a picture for its prompt (standardised), averaged over samples; optional.",
    papers=(
        Paper(
            title="ImageReward: Learning and Evaluating Human Preferences for Text-to-Image Generation",
            authors="Jiazheng Xu and Xiao Liu and Yuchen Wu and Yuxuan Tong and Qinkai Li and Ming Ding and Jie Tang "
            "and Yuxiao Dong",
            year=2023,
            arxiv="2304.05977",
            code="THUDM/ImageReward",
        ),
    ),
    requires=("images", "prompts"),
)


class ImageRewardMetric(ScoreMetric):
    """The mean over samples, about -2 to 2."""

    label: ClassVar[str] = "ImageReward"

    def extractor(self) -> ImageReward:
        return ImageReward()

    def scores(self, batch: Batch) -> Tensor:
        prompts = captions(batch)
        if batch.images is None:
            raise Lacking("image_reward needs images, which the suite does not give")
        judge = network(self.extractor())
        assert isinstance(judge, RewardNetwork)
        return judge.scores(batch.images, prompts)
