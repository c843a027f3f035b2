"""CLIP models tuned to what people prefer: PickScore and HPS v2.

Both score a picture for a text by the cosine of two embeddings. PickScore v1 (Kirstain et al. 2023, arXiv 2305.01569)
is published in the format of transformers, and multiplies by its temperature. HPS v2.1 (Wu et al. 2023, arXiv
2306.09341) is a ViT-H-14 of open-clip; the authors' code pads pictures that are not square, where open-clip crops them,
and so does this. It runs in mixed precision on a GPU, this in float32, so that the last digits differ. Both are
unverified against the real weights, which this was developed without.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from bench.errors import AssetError
from bench.features.base import Extractor, require
from bench.features.clip import ClipNetwork, build
from bench.features.state import read_state

if TYPE_CHECKING:
    from transformers import CLIPConfig


PATCH = "vision_model.embeddings.patch_embedding.weight"
POSITIONS = "text_model.embeddings.position_embedding.weight"


class _Transformers(nn.Module):
    """A CLIP of transformers with the two methods of open-clip's."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def _embedding(self, found: Any) -> Tensor:
        embedding: Tensor = found if isinstance(found, Tensor) else found.pooler_output  # transformers 4, and 5
        return embedding

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, d)"""
        return self._embedding(self.inner.get_image_features(pixel_values=pixels))  # type: ignore[operator]

    def encode_text(self, tokens: Tensor) -> Tensor:
        """(B, d); what stands behind the end token is not seen, as attention is causal."""
        return self._embedding(self.inner.get_text_features(input_ids=tokens))  # type: ignore[operator]


def _shape(state: dict[str, Tensor], tower: str, head: int) -> dict[str, Any]:
    fc1 = state[f"{tower}.encoder.layers.0.mlp.fc1.weight"]
    return {
        "hidden_size": fc1.shape[1],
        "intermediate_size": fc1.shape[0],
        "num_attention_heads": fc1.shape[1] // head,
        "num_hidden_layers": len({key.split(".")[3] for key in state if key.startswith(f"{tower}.encoder.layers.")}),
        "hidden_act": "gelu",
        "projection_dim": state["text_projection.weight"].shape[0],
    }


def _side(state: dict[str, Tensor]) -> int:
    """Pixels of the side of a picture."""
    patches = len(state["vision_model.embeddings.position_embedding.weight"]) - 1
    return int(round(patches**0.5) * state[PATCH].shape[-1])


def _config(state: dict[str, Tensor]) -> CLIPConfig:
    """The sizes of ViT-H-14, as far as the tensors do not state them: heads of 80 and 64, GELU, the last token ends."""
    from transformers import CLIPConfig

    vision = {"image_size": _side(state), "patch_size": state[PATCH].shape[-1]}
    words = state["text_model.embeddings.token_embedding.weight"]
    text = {"vocab_size": len(words), "max_position_embeddings": len(state[POSITIONS]), "eos_token_id": 49407}
    return CLIPConfig(
        vision_config={**_shape(state, "vision_model", 80), **vision},
        text_config={**_shape(state, "text_model", 64), **text},
        projection_dim=state["text_projection.weight"].shape[0],
    )


class PickScore(Extractor):
    """PickScore v1: the cosine times the learnt temperature, about 100."""

    packages: ClassVar[tuple[str, ...]] = ("transformers", "open_clip")

    @property
    def name(self) -> str:
        return "pickscore-v1"

    @property
    def resolution(self) -> int:
        return 224

    def weights(self) -> tuple[str, ...]:
        return ("pickscore-v1",)

    @property
    def preprocessing(self) -> str:
        return "own"

    def load(self, files: tuple[Path, ...]) -> ClipNetwork:
        transformers, open_clip = require("transformers", "metrics"), require("open_clip", "metrics")
        state = {key: value for key, value in read_state(files[0]).items() if not key.endswith("position_ids")}
        try:
            config = _config(state)
            inner = transformers.CLIPModel(config)
            inner.load_state_dict(state)
        except (KeyError, RuntimeError) as error:
            raise AssetError(f"{files[0]} does not hold the weights of PickScore; fetch it again") from error
        stated = open_clip.transform.PreprocessCfg(size=_side(state))
        transform = open_clip.transform.image_transform_v2(stated, is_train=False)
        context = len(state[POSITIONS])
        network = ClipNetwork(_Transformers(inner), transform, open_clip.SimpleTokenizer(context_length=context))
        network.temperature = float(inner.logit_scale.detach().exp())
        return network


class HPS(Extractor):
    """HPS v2.1: the cosine itself, about 0.2 to 0.35; not comparable with v2.0."""

    packages: ClassVar[tuple[str, ...]] = ("open_clip",)

    @property
    def name(self) -> str:
        return "hpsv2.1"

    @property
    def resolution(self) -> int:
        return 224

    def weights(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def preprocessing(self) -> str:
        return "padded"

    def load(self, files: tuple[Path, ...]) -> ClipNetwork:
        return build("ViT-H-14", files[0], "laion2b_s32b_b79k", "padded")
