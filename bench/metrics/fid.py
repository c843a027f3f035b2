"""FID: the Frechet distance in the features of the Inception network of TensorFlow, with its resize stated.

``clean`` is what clean-fid computes, ``legacy`` what torch-fidelity and the original code compute on images of any
size. Numbers of other resizes (torchmetrics' antialiased one, k-diffusion's bicubic) are other metrics. FID is biased:
it falls with the number of samples, which is part of the id; ``debiased`` needs 20,480 samples.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from bench.features.base import Extractor
from bench.features.inception import Inception
from bench.info import Info, Paper
from bench.metrics._frechet import Frechet
from bench.metrics.base import Space

INFO = Info(
    summary="Frechet Inception distance: TensorFlow's Inception v3, resize clean (clean-fid) or legacy (TF 1).",
    papers=(
        Paper(
            title="GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
            authors="Martin Heusel and Hubert Ramsauer and Thomas Unterthiner and Bernhard Nessler and Sepp Hochreiter",
            year=2017,
            arxiv="1706.08500",
            equation="Eq. 6",
        ),
        Paper(
            title="On Aliased Resizing and Surprising Subtleties in GAN Evaluation",
            authors="Gaurav Parmar and Richard Zhang and Jun-Yan Zhu",
            year=2022,
            arxiv="2104.11222",
            code="GaParmar/clean-fid",
        ),
    ),
    requires=("images",),
)


class FID(Frechet):
    """The plain distance at this sample size; see ``Frechet`` for the interval and the bias-corrected value.

    Attributes:
        resize: how images get to 299 x 299: ``clean`` or ``legacy``.
    """

    label: ClassVar[str] = "FID ({features})"
    space: ClassVar[Space] = "images"

    resize: Literal["clean", "legacy"] = "clean"

    def extractor(self) -> Extractor:
        return Inception(resize=self.resize)
