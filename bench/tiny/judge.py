"""The shipped open-clip model at work: embeddings of pictures and captions, and probabilities of the ten classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import AssetError
from bench.features.base import require
from bench.tiny.captions import CIFAR_CLASSES, CIFAR_TEMPLATES, image_captions
from bench.tiny.network import load_tokenizer, quiet
from bench.tiny.tiny_clip import enlarge
from bench.tiny.tokens import tokenize

WEIGHTS = "open_clip_model.safetensors"
CONFIG = "open_clip_config.json"
CHUNK = 250  # pictures at once


class Judge:
    """A CLIP model with its tokenizer.

    Args:
        model: open-clip's, in evaluation mode.
        tokenizer: transformers' ``CLIPTokenizer``.
    """

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        self.model: Any = model
        self.tokenizer = tokenizer
        self._known: dict[str, Tensor] = {}
        names = self.embed_texts(image_captions()).view(len(CIFAR_TEMPLATES), len(CIFAR_CLASSES), -1)
        self._classes = F.normalize(names.mean(0), dim=-1)
        self._known = dict(zip(image_captions(), names.flatten(0, 1), strict=True))

    @classmethod
    def load(cls, folder: Path) -> Judge:
        """From a folder that open-clip also reads as ``local-dir:FOLDER``.

        Raises:
            UsageError: open-clip is not installed.
            AssetError: a file is missing or damaged.
        """
        open_clip = require("open_clip", "metrics")
        try:
            stated = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_cfg"]
            with quiet():
                model = open_clip.CLIP(**stated)
            model.load_state_dict({name: value.float() for name, value in load_file(folder / WEIGHTS).items()})
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise AssetError(f"the CLIP model in {folder} cannot be loaded ({error}); restore it") from error
        model.eval().requires_grad_(False)
        return cls(model, load_tokenizer(folder))

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        """(B, E) float32 image embeddings before they are scaled to length 1, from uint8 (B, 3, 16, 16)."""
        parts = [
            self.model.encode_image(enlarge(part.float() / 127.5 - 1)) for part in torch.split(images.cpu(), CHUNK)
        ]
        return torch.cat(parts).float()

    def embed_images(self, images: Tensor) -> Tensor:
        """(B, E) of length 1, from uint8 (B, 3, 16, 16)."""
        return F.normalize(self.embed(images), dim=-1)

    @torch.inference_mode()
    def embed_texts(self, texts: tuple[str, ...]) -> Tensor:
        """(B, E) of length 1; captions of the training are remembered."""
        missing = tuple(text for text in dict.fromkeys(texts) if text not in self._known)
        found = dict(self._known)
        if missing:
            new = self.model.encode_text(tokenize(self.tokenizer, missing), normalize=True)
            found.update(zip(missing, new, strict=True))
        return torch.stack([found[text] for text in texts])

    @torch.inference_mode()
    def classes(self, embedding: Tensor) -> Tensor:
        """(B, 10) probabilities, from ``embed``'s (B, E): as in CLIP's own classification by captions."""
        scale = self.model.logit_scale.exp().clamp(max=100)
        logits: Tensor = scale * F.normalize(embedding, dim=-1) @ self._classes.T
        return logits.softmax(dim=1)
