"""DINOv2's class token, for the Frechet distance of Stein et al. 2023 (arXiv 2306.04675), as their dgm-eval has it.

Images are resized to 224 by Pillow's bicubic on uint8 (``clean`` is their ``--clean_resize``) whatever their
proportions, and standardised by ImageNet's mean and deviation. The position embeddings, trained for 37 x 37 patches,
are interpolated to 16 x 16 as Meta's released models do: bicubic with a scale of 16.1 / 37, a leftover of the original
code that transformers' ``Dinov2Model`` leaves out, so that its features are not those of published numbers.
Unverified against the real weights, which this was developed without.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.errors import AssetError
from bench.features import resize as resizes
from bench.features.base import Extractor, Network, require
from bench.features.state import read_state

SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OFFSET = 0.1
HEAD = 64  # width of an attention head in every DINOv2


def position_embeddings(trained: Tensor, side: int) -> Tensor:
    """Embeddings (1, 1 + m m, d) for m x m patches, interpolated to (1, 1 + side side, d)."""
    token, patches = trained[:, :1], trained[:, 1:]
    m = int(patches.shape[1] ** 0.5)
    if m == side:
        return trained
    square = patches.reshape(1, m, m, -1).permute(0, 3, 1, 2).float()
    scale = (side + OFFSET) / m
    found = nn.functional.interpolate(square, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([token, found.permute(0, 2, 3, 1).reshape(1, side * side, -1)], dim=1)


def _shape(state: dict[str, Tensor]) -> dict[str, Any]:
    """The sizes of a network, as timm's constructor calls them."""
    projection = state["patch_embed.proj.weight"]
    width = projection.shape[0]
    return {
        "patch_size": projection.shape[-1],
        "embed_dim": width,
        "num_heads": width // HEAD,
        "depth": len({key.split(".")[1] for key in state if key.startswith("blocks.")}),
        "mlp_ratio": state["blocks.0.mlp.fc1.weight"].shape[0] / width,
    }


class _ClassToken(Network):
    def __init__(self, inner: nn.Module, clean: bool) -> None:
        super().__init__()
        self.inner = inner
        self.clean = clean

    def prepare(self, images: Tensor) -> Tensor:
        if self.clean:
            found = resizes.clean(images, SIZE) / 255
        else:
            found = resizes.transformed(images, partial(resizes.pil_bicubic, SIZE))
        return resizes.normalised(found, MEAN, STD)

    def forward(self, prepared: Tensor) -> dict[str, Tensor]:
        tokens: Tensor = self.inner.forward_features(prepared)  # type: ignore[operator]
        return {"features": tokens[:, 0]}


class Dinov2(Extractor):
    """The normalised class token of ViT-L/14, 1,024 features.

    Attributes:
        resize: ``pil`` (dgm-eval's default) or ``clean`` (its ``--clean_resize``).
    """

    packages: ClassVar[tuple[str, ...]] = ("timm",)

    resize: Literal["pil", "clean"] = "pil"

    @property
    def name(self) -> str:
        return "dinov2-vit-l-14"

    @property
    def resolution(self) -> int:
        return SIZE

    @property
    def width(self) -> int:
        return 1024

    def weights(self) -> tuple[str, ...]:
        return ("dinov2-vit-l-14",)

    @property
    def preprocessing(self) -> str:
        return self.resize

    def load(self, files: tuple[Path, ...]) -> Network:
        timm = require("timm.models.vision_transformer", "metrics")  # it has the names of Meta's file
        state = read_state(files[0])
        try:
            sizes = _shape(state)
            state["pos_embed"] = position_embeddings(state["pos_embed"], SIZE // sizes["patch_size"])
            model = timm.VisionTransformer(img_size=SIZE, init_values=1.0, num_classes=0, **sizes)
            model.load_state_dict({key: value for key, value in state.items() if key != "mask_token"})
        except (KeyError, RuntimeError) as error:
            raise AssetError(f"{files[0]} does not hold the weights of a DINOv2; fetch it again") from error
        return _ClassToken(model, self.resize == "clean")
