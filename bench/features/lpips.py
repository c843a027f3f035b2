"""LPIPS, a distance between two pictures (Zhang et al. 2018, arXiv 1801.03924), as torchmetrics computes it.

The linear heads (version 0.1) are shipped with torchmetrics; the weights of AlexNet and VGG16 are torchvision's.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.errors import AssetError
from bench.features.base import CHUNK, Extractor, Network, exactly, require
from bench.features.state import read_state

SMALLEST = {"alex": 31, "vgg": 16}  # below, pooling leaves no pixel


class LpipsNetwork(Network):
    """Distances of pairs; what it is called with are two pictures one behind the other, (B, 6, H, W) in [-1, 1]."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def prepare(self, images: Tensor) -> Tensor:
        return images.float() / 127.5 - 1

    def forward(self, prepared: Tensor) -> dict[str, Tensor]:
        return {"distance": self.inner(prepared[:, :3], prepared[:, 3:]).flatten(1)}

    @torch.inference_mode()
    def distances(self, images: Tensor, others: Tensor) -> Tensor:
        """(B,) between pictures (B, 3, H, W) uint8 and others of the same shape."""
        device = next(self.parameters()).device
        parts = []
        with exactly(device):
            for a, b in zip(torch.split(images, CHUNK), torch.split(others, CHUNK), strict=True):
                pairs = torch.cat([self.prepare(a), self.prepare(b)], dim=1)
                parts.append(self(pairs.to(device))["distance"][:, 0].cpu())
        return torch.cat(parts)


def _backbone(state: dict[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """torchvision's ``features.3.weight`` is ``slice2.3.weight`` here."""
    known = {key.removeprefix("features."): value for key, value in state.items()}
    return {key: known[key.partition(".")[2]] for key in wanted}


class Lpips(Extractor):
    """The network of LPIPS.

    Attributes:
        net: AlexNet (the authors' choice for evaluation) or VGG16.
        resize: side to which pictures are resized first, as torchmetrics does it (area, bilinear upwards); 0 for not.
    """

    outputs = ("distance",)
    packages: ClassVar[tuple[str, ...]] = ("torchvision", "torchmetrics")

    net: Literal["alex", "vgg"] = "alex"
    resize: int = Field(default=0, ge=0, le=4096)

    @property
    def name(self) -> str:
        return f"lpips-{self.net}"

    @property
    def resolution(self) -> int:
        return self.resize

    def weights(self) -> tuple[str, ...]:
        return ({"alex": "alexnet-torchvision", "vgg": "vgg16-torchvision"}[self.net],)

    @property
    def preprocessing(self) -> str:
        return f"resize-{self.resize}" if self.resize else "none"

    def smallest(self) -> int:
        """The smallest side of a picture that the network can see."""
        return 1 if self.resize else SMALLEST[self.net]

    def load(self, files: tuple[Path, ...]) -> LpipsNetwork:
        require("torchvision", "metrics")
        metrics = require("torchmetrics.functional.image.lpips", "metrics")
        inner = metrics._NoTrainLpips(net=self.net, pnet_rand=True, resize=self.resize or None)
        try:
            inner.net.load_state_dict(_backbone(read_state(files[0]), set(inner.net.state_dict())))
        except (KeyError, RuntimeError) as error:
            raise AssetError(f"{files[0]} does not hold the weights of {self.net}; fetch it again") from error
        return LpipsNetwork(inner)
