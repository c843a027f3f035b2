"""CLIP embeddings against open-clip's own loading, resize and tokenizer, on small models with random weights."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from bench.errors import AssetError, UsageError
from bench.features import clip
from bench.features.base import apply
from bench.features.clip import ClipNetwork, OpenClip, build

VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
CONFIG = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}
LONG = "a very long caption of " + ", ".join(f"thing number {i}" for i in range(40))


def make(folder: Path, quick_gelu: bool = False) -> Path:
    """A model in open-clip's layout: weights, and the configuration beside them."""
    torch.manual_seed(0)
    model = open_clip.CLIP(**CONFIG, quick_gelu=quick_gelu)
    torch.nn.init.normal_(model.token_embedding.weight, std=1.0)
    torch.nn.init.normal_(model.visual.positional_embedding, std=1.0)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    preprocess = {
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.3, 0.4],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    config = {"model_cfg": {**CONFIG, "quick_gelu": quick_gelu}, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder / "open_clip_model.safetensors"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randint(0, 256, (4, 3, 40, 56), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def pictures(images: Tensor) -> list[Image.Image]:
    return [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]


def ours(file: Path, resize: str = "own") -> ClipNetwork:
    network = build("", file, "", resize).eval()
    assert isinstance(network, ClipNetwork)
    return network


def test_equals_open_clip(file: Path, images: Tensor) -> None:
    theirs, _, transform = open_clip.create_model_and_transforms(f"local-dir:{file.parent}")
    tokens = open_clip.SimpleTokenizer()(["a cat", "", LONG])
    with torch.inference_mode():
        pixels = torch.stack([transform(picture) for picture in pictures(images)])
        expected = theirs.eval().encode_image(pixels, normalize=True)
        texts = theirs.encode_text(tokens, normalize=True)
    network = ours(file)
    torch.testing.assert_close(apply(network, images)["features"], expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(network.texts(("a cat", "", LONG)), texts, rtol=1e-6, atol=1e-6)


def test_texts_do_not_depend_on_their_company(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip, "TEXTS", 3)
    network = ours(file)
    alone = [network.texts((text,))[0] for text in ("a", "b", LONG, "d", "a")]
    together = ours(file).texts(("a", "b", LONG, "d", "a"))
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-5, atol=1e-6)
    assert torch.equal(together[0], together[4])


def test_texts_are_float32_whatever_the_caller_does(file: Path) -> None:
    expected = ours(file).texts(("a", LONG))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ours(file).texts(("a", LONG)), expected)


def test_a_long_caption_keeps_its_end_token(file: Path) -> None:
    tokens = ours(file)._tokenizer([LONG, "a cat"])
    end = open_clip.SimpleTokenizer().eot_token_id
    assert tokens.shape == (2, 77)
    assert tokens[0, -1] == end and (tokens[0] == end).sum() == 1
    assert (tokens[1] == end).sum() == 1


def test_the_tag_decides_activation_and_preprocessing(
    tmp_path: Path, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny-arch.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(tmp_path / "tiny-arch.json")
    tag = {"url": "", "quick_gelu": True, "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bilinear"}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-arch", {"openai": {**tag, "resize_mode": "squash"}})
    source = tmp_path / "source"
    source.mkdir()
    file = make(source, quick_gelu=True).rename(tmp_path / "weights.safetensors")
    theirs, _, transform = open_clip.create_model_and_transforms(
        "tiny-arch",
        pretrained=str(file),
        force_quick_gelu=True,
        image_mean=(0.5,) * 3,
        image_std=(0.5,) * 3,
        image_interpolation="bilinear",
        image_resize_mode="squash",
    )
    with torch.inference_mode():
        pixels = torch.stack([transform(picture) for picture in pictures(images)])
        expected = theirs.eval().encode_image(pixels, normalize=True)
    extractor = OpenClip(model="tiny-arch", checkpoint="openai")
    found = apply(extractor.load((file,)).eval(), images)["features"]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    other = apply(build("tiny-arch", file, "another").eval(), images)["features"]  # the file alone forgets it all
    assert (other - expected).abs().max() > 1e-3
    assert extractor.resolution == 32


@pytest.mark.filterwarnings("ignore:`torch.jit.trace")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_openais_archives_of_torchscript(tmp_path: Path, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their files are traced networks with three sizes among the tensors, and the sigmoid's GELU."""
    config = {
        **CONFIG,
        "vision_cfg": {**VISION, "width": 64, "head_width": 64},
        "text_cfg": {**TEXT, "width": 64, "heads": 1},
    }
    torch.manual_seed(0)
    model = open_clip.CLIP(**config, quick_gelu=True).half().float().eval()
    for name, size in (("input_resolution", 32), ("context_length", 77), ("vocab_size", 49408)):
        vars(model).pop(name, None)
        model.register_buffer(name, torch.tensor(size))
    mask = model._buffers.pop("attn_mask")
    vars(model)["attn_mask"] = mask  # not among their tensors
    example = (torch.zeros(1, 3, 32, 32), torch.zeros(1, 77, dtype=torch.int64))
    torch.jit.trace(model, example, strict=False, check_trace=False).save(tmp_path / "tiny.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch.jit.load will be gone one day; ours must not say so
        theirs = open_clip.load_openai_model(str(tmp_path / "tiny.pt"), precision="fp32", device="cpu").eval()
    (tmp_path / "tiny-openai.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-openai.json")
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-openai", {"openai": {"url": "", "quick_gelu": True}})
    network = build("tiny-openai", tmp_path / "tiny.pt", "openai").eval()
    with torch.inference_mode():
        expected = theirs.encode_image(network.prepare(images), normalize=True)
        texts = theirs.encode_text(open_clip.SimpleTokenizer()(["a cat", LONG]), normalize=True)
    torch.testing.assert_close(apply(network, images)["features"], expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(network.texts(("a cat", LONG)), texts, rtol=1e-6, atol=1e-6)


def test_cmmd_takes_the_square_in_the_middle(file: Path, images: Tensor) -> None:
    found = ours(file, "cmmd").prepare(images)
    for row, picture in zip(found, pictures(images), strict=True):
        resized = np.asarray(picture.crop((8, 0, 48, 40)).resize((32, 32), Image.Resampling.BICUBIC)) / 255
        expected = (resized - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
        np.testing.assert_allclose(row.permute(1, 2, 0).numpy(), expected, atol=1e-6)


def test_ids_name_the_checkpoint() -> None:
    one, other = (OpenClip(model="ViT-g-14", checkpoint=tag).id for tag in ("laion2b_s12b_b42k", "laion2b_s34b_b88k"))
    assert one != other and one.startswith("clip-vit-g-14-laion2b-s12b-b42k@")


def test_bad_input(file: Path, tmp_path: Path) -> None:
    bare = file.rename(tmp_path / "bare.safetensors")
    with pytest.raises(UsageError, match="did you mean ViT-L-14"):
        build("ViT-L14", bare, "openai")
    with pytest.raises(UsageError, match="would be downloaded"):
        build("roberta-ViT-B-32", bare, "openai")
    (tmp_path / "tiny-other.json").write_text(json.dumps({**CONFIG, "embed_dim": 8}))
    open_clip.add_model_config(tmp_path / "tiny-other.json")
    with pytest.raises(AssetError, match="does not hold the weights of tiny-other"):
        build("tiny-other", bare, "openai")
    bare.rename(file)
