"""Frechet video distance: the Frechet distance of the logits of an I3D network on whole clips.

I3D of Carreira and Zisserman (arXiv 1705.07750) on frames resized to 224 x 224, bilinear without antialiasing, and
scaled to [-1, 1]; its 400 logits of Kinetics are the features, the arithmetic is ``fd``'s. There are two conversions of
the network: ``stylegan-v``, a TorchScript archive with its own resize, which most papers use, and ``tats``, of cd-fvd.
Values depend on the conversion, the number of frames, their rate and the number of clips.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.batch import Batch, Lacking
from bench.errors import AssetError, UsageError
from bench.features.base import Extractor, Network, exactly, network, require
from bench.features.state import read_state
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

CLIPS = 4  # seen by the network at once, whatever the batch
FRAMES = 9  # fewer vanish in the network's strides


class _Layers(Network):
    """cd-fvd's network behind its own preprocessing."""

    def __init__(self, inner: nn.Module, utils: ModuleType) -> None:
        super().__init__()
        self.inner = inner
        self.utils = utils

    def prepare(self, images: Tensor) -> Tensor:
        """Clips (B, F, 3, H, W) uint8 as (B, 3, F, 224, 224) in [-1, 1]."""
        prepared: Tensor = self.utils.preprocess_i3d(images.permute(0, 1, 3, 4, 2).numpy())
        return prepared

    def forward(self, prepared: Tensor) -> dict[str, Tensor]:
        return {"logits": self.inner(prepared)}


class _Script(Network):
    """StyleGAN-V's archive, called as its authors do: it rescales and resizes itself. Its code is not Python."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def prepare(self, images: Tensor) -> Tensor:
        """Clips (B, F, 3, H, W) uint8 as (B, 3, F, H, W) float32 in [0, 255]."""
        return images.transpose(1, 2).float().contiguous()

    def forward(self, prepared: Tensor) -> dict[str, Tensor]:
        return {"logits": self.inner(prepared, rescale=True, resize=True, return_features=True)}


class I3D(Extractor):
    """The 400 logits of I3D on RGB clips.

    Attributes:
        conversion: whose conversion of the TensorFlow original; ``tats`` needs cd-fvd.
    """

    outputs: ClassVar[tuple[str, ...]] = ("logits",)

    conversion: Literal["stylegan-v", "tats"] = "stylegan-v"

    @property
    def name(self) -> str:
        return "i3d-kinetics-400"

    @property
    def resolution(self) -> int:
        return 224

    def weights(self) -> tuple[str, ...]:
        return ("i3d-kinetics-400",) if self.conversion == "stylegan-v" else ("i3d-kinetics-400-tats",)

    @property
    def preprocessing(self) -> str:
        return self.conversion

    def load(self, files: tuple[Path, ...]) -> Network:
        if self.conversion == "stylegan-v":
            try:
                return _Script(torch.jit.load(files[0], map_location="cpu"))  # type: ignore[no-untyped-call]
            except RuntimeError as error:
                raise AssetError(f"{files[0]} is not the TorchScript archive of I3D; fetch it again") from error
        architecture = require("cdfvd.third_party.i3d.pytorch_i3d", "video")
        inner = architecture.InceptionI3d(400, in_channels=3)
        try:
            inner.load_state_dict(read_state(files[0]))
        except RuntimeError as error:
            raise AssetError(f"{files[0]} does not hold the weights of I3D; fetch it again") from error
        return _Layers(inner, require("cdfvd.third_party.i3d.utils", "video"))


@torch.inference_mode()
def logits(module: Network, clips: Tensor) -> Tensor:
    """(B, 400) float32 of clips (B, F, 3, H, W) uint8.

    Raises:
        UsageError: the clips are too short.
    """
    if clips.shape[1] < FRAMES:
        raise UsageError(f"fvd needs clips of {FRAMES} frames or more, and these have {clips.shape[1]}; leave fvd out")
    device = next(module.parameters()).device
    with exactly(device):
        starts = range(0, len(clips), CLIPS)
        parts = [module(module.prepare(clips[i : i + CLIPS].cpu()).to(device))["logits"] for i in starts]
    return torch.cat([part.float().cpu() for part in parts])


class FVD(Frechet):
    """The plain distance at this number of clips; compare it with nothing of another number, length or frame rate.

    Attributes:
        conversion: of the network, see ``I3D``.
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
