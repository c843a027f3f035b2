"""LPIPS to the teacher's own pictures: how far a sample looks from where the teacher's ODE ends, from the same noise.

Stochastic samplers do not follow the ODE and cannot do well here, as with ``rmse``.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from bench.batch import Batch, Lacking
from bench.errors import UsageError
from bench.features.base import network
from bench.features.lpips import Lpips, LpipsNetwork
from bench.info import Info, Paper
from bench.metrics._scores import ScoreMetric

INFO = Info(
    summary="Learned perceptual distance to the teacher's picture from the same noise, averaged over samples.",
    papers=(
        Paper(
            title="The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
            authors="Richard Zhang and Phillip Isola and Alexei A. Efros and Eli Shechtman and Oliver Wang",
            year=2018,
            arxiv="1801.03924",
            code="richzhang/PerceptualSimilarity",
        ),
    ),
    requires=("images", "solution"),
)


class LPIPS(ScoreMetric):
    """The mean over samples.

    Attributes:
        net: ``alex`` (the authors' choice for evaluation) or ``vgg``.
        resize: side to which both pictures are resized first; 0 for not. Pictures below 31 pixels need it.
    """

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    label: ClassVar[str] = "LPIPS ({features}) to the teacher"
    needs_solution_images: ClassVar[bool] = True

    net: Literal["alex", "vgg"] = "alex"
    resize: int = Field(default=0, ge=0, le=4096)

    def extractor(self) -> Lpips:
        return Lpips(net=self.net, resize=self.resize)

    def scores(self, batch: Batch) -> Tensor:
        if batch.images is None or batch.solution_images is None:
            raise Lacking("lpips needs images and the teacher's images from the same noise")
        if batch.images.shape != batch.solution_images.shape:
            raise ValueError(
                f"images are {tuple(batch.images.shape)}, the teacher's {tuple(batch.solution_images.shape)}"
            )
        wanted = self.extractor()
        if min(batch.images.shape[2:]) < wanted.smallest():
            raise UsageError(
                f"lpips with {self.net} cannot see pictures below {wanted.smallest()} pixels; write "
                f"lpips[net={self.net},resize=64]"
            )
        judge = network(wanted)
        assert isinstance(judge, LpipsNetwork)
        return judge.distances(batch.images, batch.solution_images)
