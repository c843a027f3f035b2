"""DINOv2 against the network of transformers, and its interpolation of positions against the closed form."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms
from transformers import Dinov2Config, Dinov2Model

from bench.errors import AssetError
from bench.features.base import apply
from bench.features.dinov2 import Dinov2, position_embeddings


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randint(0, 256, (3, 3, 40, 56), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def prepared(images: Tensor) -> Tensor:
    """dgm-eval's default: torchvision's bicubic on Pillow's pictures, then ImageNet's mean and deviation."""
    transform = transforms.Compose(
        [
            transforms.Resize((224, 224), transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    return torch.stack([transform(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images])


def meta(theirs: Dinov2Model) -> dict[str, Tensor]:
    """The tensors of transformers' network under the names of Meta's files, where attention is one matrix."""
    state, found = theirs.state_dict(), {}
    for key, value in state.items():
        for name, other in NAMES.items():
            key = key.replace(name, other)
        if "q_proj" in key:
            parts = [state[_of(key, theirs, part)] for part in ("q_proj", "k_proj", "v_proj")]
            found[key.replace("q_proj", "qkv")] = torch.cat(parts)
        elif "k_proj" not in key and "v_proj" not in key:
            found[key] = value
    return found


NAMES = {
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.": "",
    "encoder.layer.": "blocks.",
    "layernorm.": "norm.",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "attention.o_proj": "attn.proj",
    "attention.q_proj": "attn.q_proj",
    "attention.attention.query": "attn.q_proj",
    "attention.attention.key": "attn.k_proj",
    "attention.attention.value": "attn.v_proj",
    "attention.output.dense": "attn.proj",
}


def _of(key: str, theirs: Dinov2Model, part: str) -> str:
    """The name in transformers, 4 or 5, of a part of attention."""
    layer, kind = key.split(".")[1], key.rpartition(".")[2]
    old = {"q_proj": "query", "k_proj": "key", "v_proj": "value"}[part]
    names = (
        f"encoder.layer.{layer}.attention.{part}.{kind}",
        f"encoder.layer.{layer}.attention.attention.{old}.{kind}",
    )
    return next(name for name in names if name in theirs.state_dict())


def small(width: int, layers: int, image_size: int = 224) -> Dinov2Model:
    """A random network in which every parameter matters."""
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=width,
        num_attention_heads=width // 64,
        num_hidden_layers=layers,
        image_size=image_size,
        patch_size=14,
    )
    theirs = Dinov2Model(config).eval()
    for name, parameter in theirs.named_parameters():
        if name.endswith(("bias", "lambda1", "embeddings", "cls_token")):  # at first they do nothing
            torch.nn.init.normal_(parameter, std=0.5)
    return theirs


def test_equals_transformers_where_nothing_is_interpolated(images: Tensor, tmp_path: Path) -> None:
    theirs = small(128, 2)
    torch.save(meta(theirs), tmp_path / "meta.pth")
    with torch.inference_mode():
        expected = theirs(prepared(images)).pooler_output
    found = apply(Dinov2().load((tmp_path / "meta.pth",)).eval(), images)["features"]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_differs_from_transformers_where_position_embeddings_are_interpolated(images: Tensor, tmp_path: Path) -> None:
    theirs = small(64, 1, image_size=518)
    torch.save(meta(theirs), tmp_path / "meta.pth")
    with torch.inference_mode():
        expected = theirs(prepared(images)).pooler_output
    found = apply(Dinov2().load((tmp_path / "meta.pth",)).eval(), images)["features"]
    assert 1e-5 < (found - expected).abs().max() < 0.1  # a leftover of Meta's code; see the closed form below


def cubic(distance: float, a: float = -0.75) -> float:
    """Keys's kernel with the coefficient of PyTorch's bicubic."""
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def test_position_embeddings_are_interpolated_with_metas_offset() -> None:
    trained = torch.randn(1, 1 + 37 * 37, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).float()
    found = position_embeddings(trained, 16)
    assert torch.equal(found[:, :1], trained[:, :1])
    weights = np.zeros((16, 37))
    for i in range(16):
        x = (i + 0.5) * 37 / 16.1 - 0.5
        for k in range(math.floor(x) - 1, math.floor(x) + 3):
            weights[i, min(max(k, 0), 36)] += cubic(x - k)
    square = trained[0, 1:].double().numpy().reshape(37, 37, 2)
    expected = np.einsum("ik,jl,kld->ijd", weights, weights, square).reshape(256, 2)
    np.testing.assert_allclose(found[0, 1:].numpy(), expected, atol=2e-5)


def test_the_two_resizes_differ_and_say_so(images: Tensor, tmp_path: Path) -> None:
    torch.save(meta(small(64, 1)), tmp_path / "meta.pth")
    pil, clean = (Dinov2(resize=resize).load((tmp_path / "meta.pth",)).prepare(images) for resize in ("pil", "clean"))
    assert 1e-3 < (pil - clean).abs().mean() < 0.05  # Pillow rounds and clips, once in each direction
    assert Dinov2().id.endswith("/pil") and Dinov2(resize="clean").id.endswith("/clean")


def test_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"pos_embed": torch.zeros(1, 5, 8)}, tmp_path / "other.pth")
    with pytest.raises(AssetError, match="does not hold the weights of a DINOv2"):
        Dinov2().load((tmp_path / "other.pth",))
