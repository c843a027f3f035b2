"""CLIP models of open-clip, for images and for texts; embeddings have length 1.

A checkpoint is more than its weights: its tag in open-clip says whether the network was trained with the sigmoid
approximation of GELU (``openai`` was), and how images are resized and standardised. Loading the file alone forgets all
that and gives other numbers without a warning, so the tag is looked up here.

The tokenizer cuts a long caption in front of its end token, which is where CLIP reads the sentence.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from bench.errors import AssetError, UsageError, unknown
from bench.features import resize as resizes
from bench.features.base import Extractor, Network, exactly, installed, require
from bench.features.state import read_state

if TYPE_CHECKING:
    from PIL.Image import Image

TEXTS = 8192  # embeddings that are kept, as every cell of a sweep has the same captions
NAME = r"[A-Za-z0-9._-]+"


class ClipNetwork(Network):
    """A CLIP model with its preprocessing and tokenizer.

    Args:
        inner: open-clip's model.
        transform: Pillow's image to (3, h, w).
        tokenizer: texts to (B, context) int64.

    Attributes:
        temperature: what a score built on this network multiplies the cosine by.
    """

    temperature = 1.0

    def __init__(self, inner: nn.Module, transform: Any, tokenizer: Any) -> None:
        super().__init__()
        self.inner = inner
        self._transform = transform
        self._tokenizer = tokenizer
        self._known: dict[str, Tensor] = {}

    def prepare(self, images: Tensor) -> Tensor:
        return resizes.transformed(images, self._transform)

    def forward(self, prepared: Tensor) -> dict[str, Tensor]:
        found: Tensor = self.inner.encode_image(prepared)  # type: ignore[operator]
        return {"features": normalize(found.float(), dim=-1)}

    @torch.inference_mode()
    def texts(self, texts: tuple[str, ...]) -> Tensor:
        """(B, d) float32 on the CPU, of length 1."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        if len(self._known) + len(missing) > TEXTS:
            self._known.clear()
            missing = list(dict.fromkeys(texts))
        device = next(self.parameters()).device
        with exactly(device):
            for start in range(0, len(missing), 64):
                some = missing[start : start + 64]
                found = self.inner.encode_text(self._tokenizer(some).to(device))  # type: ignore[operator]
                self._known.update(zip(some, normalize(found.float(), dim=-1).cpu(), strict=True))
        return torch.stack([self._known[text] for text in texts])


def _squared(size: int, mean: tuple[float, ...], std: tuple[float, ...], picture: Image) -> Tensor:
    """CMMD's own: the square in the middle, then Pillow's bicubic on uint8."""
    return resizes.normalised(resizes.pil_bicubic(size, resizes.centre_square(picture)), mean, std)


def _padded(size: int, mean: tuple[float, ...], std: tuple[float, ...], picture: Image) -> Tensor:
    """HPS's own: all of the picture, black beside it."""
    return resizes.normalised(resizes.padded(size, picture), mean, std)


RESIZES = {"cmmd": _squared, "padded": _padded}


def _architecture(open_clip: Any, model: str) -> dict[str, Any]:
    """open-clip's configuration of an architecture.

    Raises:
        UsageError: it does not know the name, or the text tower is not open-clip's own.
    """
    config: dict[str, Any] | None = open_clip.get_model_config(model)
    if config is None:
        raise unknown("architecture of open-clip", model, open_clip.list_models())
    if "hf_model_name" in config["text_cfg"] or "hf_tokenizer_name" in config["text_cfg"]:
        raise UsageError(f"{model} has a text tower or a tokenizer that would be downloaded; choose another model")
    return config


def build(model: str, file: Path, tag: str, resize: str = "own") -> ClipNetwork:
    """A network from a file of weights.

    Args:
        model: an architecture of open-clip, such as ``"ViT-L-14"``.
        file: the weights; an ``open_clip_config.json`` beside a .safetensors file stands for architecture and tag.
        tag: open-clip's name for the checkpoint, which determines activation and preprocessing.
        resize: ``own`` (what the tag states), ``cmmd`` or ``padded``.

    Raises:
        UsageError: open-clip is missing, or does not know the architecture.
        AssetError: the file does not fit the architecture.
    """
    open_clip = require("open_clip", "metrics")
    beside = file.with_name("open_clip_config.json")
    if beside.is_file():
        stated = json.loads(beside.read_text(encoding="utf-8"))
        config, preprocess = stated["model_cfg"], stated.get("preprocess_cfg", {})
    else:
        config, preprocess = _architecture(open_clip, model), open_clip.get_pretrained_cfg(model, tag)
        config = {**config, "quick_gelu": preprocess.get("quick_gelu", config.get("quick_gelu", False))}
    towers = {key: value for key, value in config.items() if key != "custom_text"}
    inner = (open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP)(**towers)
    try:
        state = open_clip.convert.convert_state_dict(inner, read_state(file))
        inner.load_state_dict(state)
    except RuntimeError as error:
        raise AssetError(f"{file} does not hold the weights of {model}; fetch it again") from error
    known = {key: preprocess[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in preprocess}
    size = config["vision_cfg"].get("image_size", 224)
    stated_as = open_clip.transform.PreprocessCfg(size=size, **known)
    transform = open_clip.transform.image_transform_v2(stated_as, is_train=False)
    if resize in RESIZES:
        transform = partial(RESIZES[resize], size, tuple(stated_as.mean), tuple(stated_as.std))
    context = config["text_cfg"].get("context_length", 77)
    return ClipNetwork(inner, transform, open_clip.SimpleTokenizer(context_length=context))


class OpenClip(Extractor):
    """Image embeddings of a CLIP model.

    Attributes:
        model: open-clip's name of the architecture.
        checkpoint: open-clip's tag of the weights; ``ViT-g-14`` alone is two networks.
        resize: ``own`` (what the tag states) or ``cmmd`` (the square in the middle, bicubic).
    """

    packages: ClassVar[tuple[str, ...]] = ("open_clip",)

    model: str = Field(default="ViT-L-14", pattern=NAME)
    checkpoint: str = Field(default="openai", pattern=NAME)
    resize: Literal["own", "cmmd"] = "own"

    @property
    def name(self) -> str:
        return f"clip-{self.model}-{self.checkpoint}".lower().replace("_", "-")

    @property
    def resolution(self) -> int:
        config = _architecture(require("open_clip", "metrics"), self.model)
        return int(config["vision_cfg"]["image_size"])

    @property
    def width(self) -> int | None:
        """What open-clip's configuration states; unknown without open-clip."""
        if not installed("open_clip"):
            return None
        return int(_architecture(require("open_clip", "metrics"), self.model)["embed_dim"])

    def weights(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def preprocessing(self) -> str:
        return self.resize

    def load(self, files: tuple[Path, ...]) -> ClipNetwork:
        return build(self.model, files[0], self.checkpoint, self.resize)
