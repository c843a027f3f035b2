"""FD-DINOv2: the Frechet distance in the class token of DINOv2 ViT-L/14, with dgm-eval's preprocessing.

It follows what people see more closely than FID does, and texture less. Its numbers are hundreds where FID's are tens.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from bench.features.base import Extractor
from bench.features.dinov2 import Dinov2
from bench.info import Info, Paper
from bench.metrics._frechet import Frechet
from bench.metrics.base import Space

INFO = Info(
    summary="Frechet distance in DINOv2 ViT-L/14 features, as dgm-eval prepares images.",
    papers=(
        Paper(
            title="Exposing flaws of generative model evaluation metrics and their unfair treatment of diffusion "
            "models",
            authors="George Stein and Jesse C. Cresswell and Rasa Hosseinzadeh and Yi Sui and Brendan Leigh Ross "
            "and Valentin Villecroze and Zhaoyan Liu and Anthony L. Caterini and J. Eric T. Taylor "
            "and Gabriel Loaiza-Ganem",
            year=2023,
            arxiv="2306.04675",
            code="layer6ai-labs/dgm-eval",
        ),
    ),
    requires=("images",),
)


class FDDinov2(Frechet):
    """The plain distance at this sample size; see ``Frechet`` for the interval and the bias-corrected value.

    Attributes:
        resize: ``pil`` (dgm-eval's default: Pillow on uint8) or ``clean`` (its ``--clean_resize``).
    """

    label: ClassVar[str] = "FD ({features})"
    space: ClassVar[Space] = "images"

    resize: Literal["pil", "clean"] = "pil"

    def extractor(self) -> Extractor:
        return Dinov2(resize=self.resize)
