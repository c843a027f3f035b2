"""ImageReward 1.0 (Xu et al. 2023, arXiv 2304.05977), through the authors' package.

Its BLIP is written for transformers 4; where the package cannot be imported a sentence says so. It asks the hub for
BERT's vocabulary when it is built; here it gets the file of the manifest. Unverified: neither the weights nor an
environment that the package runs in were at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import AssetError, UsageError
from bench.features import resize as resizes
from bench.features.base import CHUNK, Extractor, Network, exactly, installed, require
from bench.features.state import read_state

LENGTH = 35  # tokens of a prompt, as the authors' code has it
ABSENT = (
    "ImageReward cannot be imported; its package needs transformers 4: "
    "run pip install image-reward 'transformers<5' in an environment of its own"
)
USED = ("blip.visual_encoder.", "blip.text_encoder.", "mlp.")  # by a score; the package has other parts


class RewardNetwork(Network):
    """The authors' model; pictures and prompts go in together."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner: Any = inner

    def prepare(self, images: Tensor) -> Tensor:
        return resizes.transformed(images, self.inner.preprocess)

    def forward(self, prepared: Tensor) -> dict[str, Tensor]:
        return {"features": self.inner.blip.visual_encoder(prepared)}

    @torch.inference_mode()
    def scores(self, images: Tensor, prompts: tuple[str, ...]) -> Tensor:
        """(B,) for pictures (B, 3, H, W) uint8 and their prompts."""
        device = next(self.parameters()).device
        blip, parts = self.inner.blip, []
        with exactly(device):
            for start in range(0, len(images), CHUNK):
                texts = list(prompts[start : start + CHUNK])
                seen = self(self.prepare(images[start : start + CHUNK]).to(device))["features"]
                tokens = blip.tokenizer(
                    texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
                ).to(device)
                found = blip.text_encoder(
                    tokens.input_ids,
                    attention_mask=tokens.attention_mask,
                    encoder_hidden_states=seen,
                    encoder_attention_mask=torch.ones(seen.shape[:-1], dtype=torch.long, device=device),
                    return_dict=True,
                )
                reward = self.inner.mlp(found.last_hidden_state[:, 0].float())
                parts.append(((reward - self.inner.mean) / self.inner.std)[:, 0].cpu())
        return torch.cat(parts)


@contextmanager
def _vocabulary(blip: ModuleType, file: Path) -> Iterator[None]:
    """Nothing from the hub, whatever name the authors' code asks for."""
    tokenizer = blip.BertTokenizer
    blip.BertTokenizer = SimpleNamespace(from_pretrained=lambda _: tokenizer(str(file)))  # type: ignore[attr-defined]
    try:
        yield
    finally:
        blip.BertTokenizer = tokenizer  # type: ignore[attr-defined]


class ImageReward(Extractor):
    """ImageReward 1.0: about -2 to 2, standardised by the authors."""

    @property
    def name(self) -> str:
        return "imagereward"

    @property
    def resolution(self) -> int:
        return 224

    def weights(self) -> tuple[str, ...]:
        return ("imagereward", "imagereward-config", "vbench-bert-vocab")

    @property
    def preprocessing(self) -> str:
        return "own"

    def problem(self) -> str:
        return "" if installed("ImageReward") else ABSENT

    def load(self, files: tuple[Path, ...]) -> RewardNetwork:
        try:
            package = require("ImageReward.ImageReward", "image-reward")
            blip = require("ImageReward.models.BLIP.blip", "image-reward")
        except UsageError as error:
            raise UsageError(ABSENT) from error
        with _vocabulary(blip, files[2]):
            inner = package.ImageReward(med_config=str(files[1]), device="cpu")
        wrong = AssetError(f"{files[0]} does not hold the weights of ImageReward; fetch it again")
        try:  # the authors pass over what differs; position_ids may, as versions of transformers differ in them
            left_out = inner.load_state_dict(read_state(files[0]), strict=False).missing_keys
        except RuntimeError as error:
            raise wrong from error
        if any(key.startswith(USED) and not key.endswith("position_ids") for key in left_out):
            raise wrong
        return RewardNetwork(inner)
