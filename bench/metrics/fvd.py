"""Frechet video distance: the Frechet distance of the logits of an I3D network on whole clips.

The network is ``bench.features.i3d``, the arithmetic is ``fd``'s. Values depend on the conversion of the network, the
number of frames, their rate and the number of clips.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from bench.batch import Batch, Lacking
from bench.features.base import Extractor, network
from bench.features.i3d import I3D, logits
from bench.info import Info, Paper
from bench.metrics._frechet import Frechet, Moments
from bench.metrics.base import Space

INFO = Info(
    summary="Frechet distance of I3D logits of clips to those of reference clips.",
    papers=(
        Paper(
            title="Towards Accurate Generative Models of Video: A New Metric & Challenges",
            authors="Thomas Unterthiner and Sjoerd van Steenkiste and Karol Kurach and Raphael Marinier and Marcin Michalski and Sylvain Gelly",  # noqa: E501 - a literal, read from the syntax tree
            year=2018,
            arxiv="1812.01717",
        ),
        Paper(
            title="On the Content Bias in Frechet Video Distance",
            authors="Songwei Ge and Aniruddha Mahapatra and Gaurav Parmar and Jun-Yan Zhu and Jia-Bin Huang",
            year=2024,
            arxiv="2404.12391",
            code="songweige/content-debiased-fvd",
        ),
    ),
    requires=("clips", "reference"),
)


class FVD(Frechet):
    """The plain distance at this number of clips; compare it with nothing of another number, length or frame rate.

    Attributes:
        conversion: of the network, see ``bench.features.i3d``.
    """

    label: ClassVar[str] = "FVD (I3D)"
    space: ClassVar[Space] = "clips"

    conversion: Literal["stylegan-v", "tats"] = Field(default="stylegan-v")

    def extractor(self) -> Extractor:
        return I3D(conversion=self.conversion)

    def statistics(self, batch: Batch) -> Moments:
        if batch.clips is None:
            raise Lacking("fvd needs clips, which the suite does not give")
        found = self.extractor()
        if found.id not in batch.extracted:
            batch.extracted[found.id] = logits(network(found), batch.clips)
        return Moments.of(batch.extracted[found.id], "clips")
