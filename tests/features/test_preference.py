"""Aesthetic, PickScore, HPS and ImageReward: loading and formulas on small random models of the same layout."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms import functional
from transformers import CLIPConfig, CLIPModel

from bench.batch import Batch
from bench.errors import AssetError, UsageError
from bench.features import base, image_reward
from bench.features.aesthetic import Aesthetic
from bench.features.clip import OpenClip, build
from bench.features.image_reward import ImageReward
from bench.features.preference import HPS, PickScore
from bench.metrics.aesthetic import AestheticScore
from bench.metrics.hpsv2 import HPSv2
from bench.metrics.image_reward import ImageRewardMetric
from bench.metrics.pick_score import PickScoreMetric
from bench.weightstore.store import entry

PROMPTS = ("a red cat", "two dogs", "a red cat")
VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
CONFIG = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randint(0, 256, (3, 3, 48, 40), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture
def batch(images: Tensor) -> Batch:
    return Batch(images, images=images, prompts=PROMPTS)


def prepared(images: Tensor, size: int) -> Tensor:
    """OpenAI's and LAION's common preprocessing."""
    transform = open_clip.transform.image_transform(size, is_train=False)
    return torch.stack([transform(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images])


def use(extractor: base.Extractor, files: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have metrics find this network."""
    module = extractor.load(files).eval()
    monkeypatch.setattr(base, "_network", lambda *_: module)


def embedding(found: object) -> Tensor:
    embedded = found if isinstance(found, Tensor) else found.pooler_output  # type: ignore[attr-defined]
    return nn.functional.normalize(embedded, dim=-1)


def test_pick_score_is_the_model_cards(
    batch: Batch, images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    vision = {"hidden_size": 80, "intermediate_size": 96, "num_attention_heads": 1, "num_hidden_layers": 2}
    text = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 1, "num_hidden_layers": 2}
    common = {"hidden_act": "gelu", "projection_dim": 32}
    config = CLIPConfig(
        vision_config={**vision, **common, "image_size": 28, "patch_size": 14},
        text_config={**text, **common, "vocab_size": 49408, "max_position_embeddings": 77, "eos_token_id": 49407},
        projection_dim=32,
        logit_scale_init_value=4.5,
    )
    theirs = CLIPModel(config).eval()
    save_file({key: value.contiguous() for key, value in theirs.state_dict().items()}, tmp_path / "model.safetensors")
    use(PickScore(), (tmp_path / "model.safetensors",), monkeypatch)
    tokens = open_clip.SimpleTokenizer()(list(PROMPTS))
    ends = (tokens == 49407).int().argmax(1)
    mask = (
        torch.arange(77) <= ends[:, None]
    ).long()  # as their tokenizer marks padding, which ours leaves to causality
    with torch.inference_mode():
        x = embedding(theirs.get_image_features(pixel_values=prepared(images, 28)))
        t = embedding(theirs.get_text_features(input_ids=tokens, attention_mask=mask))
        expected = (theirs.logit_scale.exp() * (x * t).sum(1)).mean()
    metric = PickScoreMetric()
    assert metric.value(metric.statistics(batch), None).value == pytest.approx(float(expected), rel=1e-5)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    model = open_clip.CLIP(**CONFIG)
    nn.init.normal_(model.token_embedding.weight, std=1.0)
    save_file(model.state_dict(), tmp_path / "clip.safetensors")
    return tmp_path / "clip.safetensors"


def tiny(clip: Path, monkeypatch: pytest.MonkeyPatch) -> open_clip.CLIP:
    """Small models under the names of the large ones."""
    monkeypatch.setattr(open_clip, "get_model_config", lambda _: json.loads(json.dumps(CONFIG)))
    theirs = open_clip.CLIP(**CONFIG).eval()
    theirs.load_state_dict(build("any", clip, "").inner.state_dict())
    return theirs


def hps_prepared(images: Tensor, size: int) -> Tensor:
    """As the authors' ``ResizeMaxSize`` is written, with torchvision's functions on floats."""
    found = []
    for image in images / 255:
        height, width = image.shape[1:]
        new = [round(side * size / max(height, width)) for side in (height, width)]
        resized = functional.resize(image, new, functional.InterpolationMode.BICUBIC)
        high, wide = size - new[0], size - new[1]
        found.append(functional.pad(resized, [wide // 2, high // 2, wide - wide // 2, high - high // 2], fill=0))
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    return functional.normalize(torch.stack(found), mean, std)


@pytest.mark.parametrize("shape", [(48, 40), (25, 64), (32, 32), (9, 16), (21, 32)])
def test_hps_pads_what_is_not_square(shape: tuple[int, int], clip: Path) -> None:
    images = torch.randint(0, 256, (2, 3, *shape), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    clip.with_name("open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG}))
    network = HPS().load((clip,))
    torch.testing.assert_close(network.prepare(images), hps_prepared(images, 32), rtol=1e-6, atol=1e-6)


def test_hps_is_the_cosine(batch: Batch, images: Tensor, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tiny(clip, monkeypatch)
    torch.save({"epoch": 1, "state_dict": theirs.state_dict()}, clip.with_name("HPS.pt"))  # as the authors pack it
    use(HPS(), (clip.with_name("HPS.pt"),), monkeypatch)
    with torch.inference_mode():
        x, t, _ = theirs(hps_prepared(images, 32), open_clip.SimpleTokenizer()(list(PROMPTS)))
        expected = torch.diagonal(x @ t.T).mean()
    metric = HPSv2()
    assert metric.value(metric.statistics(batch), None).value == pytest.approx(float(expected), rel=1e-5)


class AuthorsHead(nn.Module):
    """The head of improved-aesthetic-predictor, layer by layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = ((width, 1024), (1024, 128), (128, 64), (64, 16), (16, 1))
        first, second, third, fourth, last = (nn.Linear(*size) for size in sizes)
        self.layers = nn.Sequential(
            first, nn.Dropout(0.2), second, nn.Dropout(0.2), third, nn.Dropout(0.1), fourth, last
        )


def test_aesthetic_is_the_authors_head(
    batch: Batch, images: Tensor, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tiny(clip, monkeypatch)
    torch.manual_seed(2)
    head = AuthorsHead(16).eval()
    torch.save(head.state_dict(), clip.with_name("head.pth"))
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_: {})
    use(Aesthetic(), (clip.with_name("head.pth"), clip), monkeypatch)
    with torch.inference_mode():
        expected = head.layers(theirs.encode_image(prepared(images, 32), normalize=True)).mean()
    metric = AestheticScore()
    assert metric.value(metric.statistics(batch), None).value == pytest.approx(float(expected), rel=1e-5)
    assert Aesthetic().weights()[1:] == OpenClip().weights()
    torch.save({"layers.0.weight": torch.zeros(2, 16)}, clip.with_name("other.pth"))
    with pytest.raises(AssetError, match="aesthetic predictor"):
        Aesthetic().load((clip.with_name("other.pth"), clip))


class FakeTokenizer:
    """Counts letters; stands for transformers' ``BertTokenizer``, which knows the hub and files of words."""

    def __init__(self, vocab: str) -> None:
        self.vocab = vocab

    @classmethod
    def from_pretrained(cls, name: str) -> FakeTokenizer:
        raise AssertionError(f"{name} was asked of the hub")

    def __call__(self, texts: list[str], **options: object) -> object:
        assert options == {"padding": "max_length", "truncation": True, "max_length": 35, "return_tensors": "pt"}
        ids = torch.tensor([[len(text), 1] for text in texts])

        class Tokens:
            input_ids, attention_mask = ids, torch.ones_like(ids)

            def to(self, _: object) -> Tokens:
                return self

        return Tokens()


class FakeReward(nn.Module):
    """Stands for the authors' model: the parts that are called, and nothing of what they compute."""

    mean, std = 0.5, 2.0

    def __init__(self, med_config: str, device: str) -> None:
        super().__init__()
        self.preprocess = open_clip.transform.image_transform(8, is_train=False)
        self.mlp = nn.Linear(4, 1)
        self.blip = nn.Module()
        self.blip.visual_encoder = nn.Sequential(nn.Flatten(2), nn.Linear(64, 4))
        self.blip.text_encoder = self.encode
        self.blip.tokenizer = sys.modules["ImageReward.models.BLIP.blip"].BertTokenizer.from_pretrained("bert")

    @staticmethod
    def encode(ids: Tensor, **given: Tensor) -> object:
        assert given["encoder_attention_mask"].shape == given["encoder_hidden_states"].shape[:2]

        class Found:
            last_hidden_state = given["encoder_hidden_states"] + ids[:, :1, None]

        return Found()


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What stands for the authors' package."""
    names = (
        "ImageReward",
        "ImageReward.ImageReward",
        *(f"ImageReward.models{end}" for end in ("", ".BLIP", ".BLIP.blip")),
    )
    for name in names:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["ImageReward.ImageReward"].ImageReward = FakeReward  # type: ignore[attr-defined]
    blip = sys.modules["ImageReward.models.BLIP.blip"]
    blip.BertTokenizer = FakeTokenizer  # type: ignore[attr-defined]
    return blip


def their_reward(blip: ModuleType) -> FakeReward:
    torch.manual_seed(3)
    with image_reward._vocabulary(blip, Path("vocab.txt")):
        return FakeReward("", "cpu")


def test_image_reward_calls_the_package_and_standardises(
    batch: Batch, images: Tensor, tmp_path: Path, package: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = their_reward(package)
    torch.save(theirs.state_dict(), tmp_path / "reward.pt")
    use(ImageReward(), tuple(tmp_path / name for name in ("reward.pt", "med.json", "vocab.txt")), monkeypatch)
    with torch.inference_mode():
        seen = theirs.blip.visual_encoder(prepared(images, 8))[:, 0]
        text = torch.tensor([[float(len(prompt))] for prompt in PROMPTS])
        expected = ((theirs.mlp(seen + text) - 0.5) / 2.0).mean()
    metric = ImageRewardMetric()
    assert metric.value(metric.statistics(batch), None).value == pytest.approx(float(expected), rel=1e-5)
    monkeypatch.setattr(image_reward, "CHUNK", 2)
    assert metric.value(metric.statistics(batch), None).value == pytest.approx(float(expected), rel=1e-5)


def test_image_reward_takes_words_from_the_manifests_file(tmp_path: Path, package: ModuleType) -> None:
    torch.save(their_reward(package).state_dict(), tmp_path / "reward.pt")
    module = ImageReward().load((tmp_path / "reward.pt", tmp_path / "med.json", tmp_path / "vocab.txt"))
    assert module.inner.blip.tokenizer.vocab == str(tmp_path / "vocab.txt")
    assert package.BertTokenizer is FakeTokenizer  # as it was
    assert entry(ImageReward().weights()[2]).file.endswith("bert-base-uncased/vocab.txt")


def test_image_reward_refuses_weights_that_leave_parts_at_random(tmp_path: Path, package: ModuleType) -> None:
    state = their_reward(package).state_dict()
    torch.save({key: value for key, value in state.items() if "mlp" not in key}, tmp_path / "part.pt")
    torch.save({**state, "mlp.weight": torch.zeros(7, 7)}, tmp_path / "other.pt")
    for name in ("part.pt", "other.pt"):
        with pytest.raises(AssetError, match="does not hold the weights of ImageReward"):
            ImageReward().load((tmp_path / name, tmp_path / "med.json", tmp_path / "vocab.txt"))


def test_image_reward_without_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ImageReward", None)
    with pytest.raises(UsageError, match="needs transformers 4"):
        ImageReward().load((tmp_path, tmp_path, tmp_path))


def test_prompts_are_needed(images: Tensor) -> None:
    for metric in (HPSv2(), PickScoreMetric(), ImageRewardMetric()):
        with pytest.raises(ValueError, match="needs prompts"):
            metric.statistics(Batch(images, images=images))
