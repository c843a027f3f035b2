"""I3D, the network of FVD: whole clips become 400 logits.

I3D of Carreira and Zisserman (arXiv 1705.07750) on frames resized to 224 x 224, bilinear without antialiasing, and
scaled to [-1, 1]; its 400 logits of Kinetics are the features (Unterthiner et al. 2018, arXiv 1812.01717). There are
two conversions of the network: ``stylegan-v``, a TorchScript archive with its own resize, which most papers use, and
``tats``, of cd-fvd.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.errors import AssetError, UsageError
from bench.features.base import Extractor, Network, exactly, installed, require
from bench.features.state import load_script, read_state

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

    @property
    def width(self) -> int:
        return 400

    def weights(self) -> tuple[str, ...]:
        return ("i3d-kinetics-400",) if self.conversion == "stylegan-v" else ("i3d-kinetics-400-tats",)

    @property
    def preprocessing(self) -> str:
        return self.conversion

    def problem(self) -> str:
        if self.conversion != "tats" or installed("cdfvd"):
            return ""
        return "cd-fvd is not installed; run pip install 'fewstep-bench[video]'"

    def load(self, files: tuple[Path, ...]) -> Network:
        if self.conversion == "stylegan-v":
            try:
                return _Script(load_script(files[0]))
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
