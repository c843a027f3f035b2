"""CLIP score against torchmetrics' own code on a small random model, its end token, and its control by brute force."""

from __future__ import annotations

import json
import warnings
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchmetrics.functional.multimodal.clip_score import _clip_score_update

from bench import registry
from bench.batch import Batch
from bench.errors import UsageError
from bench.features import base
from bench.features.clip import ClipNetwork, build
from bench.metrics.base import Estimate
from bench.metrics.clip_score import ClipScore

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
LONG = "a very long caption of " + ", ".join(f"thing number {i}" for i in range(40))
PROMPTS = ("a red cat", "two dogs", "a red cat", "an aeroplane", "two dogs", "a horse")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> ClipNetwork:
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    model = open_clip.CLIP(**CONFIG)
    nn.init.normal_(model.token_embedding.weight, std=1.0)
    nn.init.normal_(model.visual.positional_embedding, std=1.0)
    save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG}))
    built = build("", folder / "model.safetensors", "").eval()
    assert isinstance(built, ClipNetwork)
    return built


@pytest.fixture
def judge(network: ClipNetwork, monkeypatch: pytest.MonkeyPatch) -> ClipNetwork:
    monkeypatch.setattr(base, "_network", lambda *_: network)
    return network


def made(prompts: tuple[str, ...], seed: int = 0) -> Batch:
    shape, source = (len(prompts), 3, 40, 36), torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, shape, generator=source, dtype=torch.uint8)
    return Batch(images, images=images, prompts=prompts)


def score(batch: Batch, text: str = "clip_score", parts: int = 1) -> Estimate:
    metric = registry.create("metric", text)
    size = -(-len(batch.samples) // parts)
    found = None
    for start in range(0, len(batch.samples), size):
        rows = slice(start, start + size)
        assert batch.images is not None and batch.prompts is not None
        one = metric.statistics(Batch(batch.samples[rows], images=batch.images[rows], prompts=batch.prompts[rows]))
        found = one if found is None else found + one
    estimate: Estimate = metric.value(found, None)
    return estimate


class TheirModel:
    """Our network where torchmetrics expects one of transformers."""

    config = SimpleNamespace(text_config=SimpleNamespace(max_position_embeddings=77))

    def __init__(self, network: ClipNetwork) -> None:
        self.network = network

    def to(self, _: object) -> TheirModel:
        return self

    def get_image_features(self, pixels: Tensor) -> Tensor:
        return self.network(pixels)["features"]

    def get_text_features(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.network.inner.encode_text(nn.functional.pad(ids * mask, (0, 77 - ids.shape[1])))


class TheirProcessor:
    """transformers' processor: pads to the longest caption and cuts nothing."""

    def __init__(self, network: ClipNetwork) -> None:
        self.network = network

    def __call__(
        self, text: list[str] | None = None, images: list[Tensor] | None = None, **_: object
    ) -> dict[str, Tensor]:
        if images is not None:
            return {"pixel_values": self.network.prepare(torch.stack(images))}
        tokens = open_clip.SimpleTokenizer(context_length=400)(text)
        tokens = tokens[:, : int((tokens != 0).sum(1).max())]
        return {"input_ids": tokens, "attention_mask": (tokens != 0).long()}


def torchmetrics(batch: Batch, network: ClipNetwork) -> Tensor:
    assert batch.images is not None and batch.prompts is not None
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it will cut captions
        images, texts = list(batch.images), list(batch.prompts)
        return _clip_score_update(images, texts, TheirModel(network), TheirProcessor(network))[0]


def test_equals_torchmetrics(judge: ClipNetwork) -> None:
    batch = made(PROMPTS)
    assert score(batch).value == pytest.approx(float(torchmetrics(batch, judge).double().mean()), rel=1e-6)


def test_torchmetrics_cuts_the_end_of_a_long_caption_and_we_do_not(judge: ClipNetwork) -> None:
    batch = made((LONG,))
    tokens = open_clip.SimpleTokenizer()([LONG])
    assert tokens[0, -1] == tokens.max()  # the end token is there, and it is where CLIP reads the sentence
    with torch.inference_mode():
        expected = judge.inner.encode_text(tokens, normalize=True) @ judge(judge.prepare(batch.images))["features"].T
    assert score(batch).value == pytest.approx(100 * float(expected), rel=1e-5)
    assert abs(score(batch).value - float(torchmetrics(batch, judge))) > 0.1


def test_the_batch_size_is_irrelevant(judge: ClipNetwork) -> None:
    batch = made(PROMPTS * 5)
    one, many = score(batch), score(batch, parts=7)
    assert one.value == pytest.approx(many.value, rel=1e-6)
    assert one.detail == pytest.approx(many.detail, rel=1e-5)


def test_scale_floor_and_template(judge: ClipNetwork) -> None:
    batch = made(PROMPTS)
    cosines = score(batch, "clip_score[scale=1]")
    assert score(batch).value == pytest.approx(100 * cosines.value)
    depicts = Batch(batch.samples, images=batch.images, prompts=tuple(f"A photo depicts {p}" for p in PROMPTS))
    assert score(batch, "clip_score[template=A photo depicts {}]").value == pytest.approx(score(depicts).value)


def test_hessels_score_has_a_floor() -> None:
    x, t = torch.eye(4), torch.eye(4) * torch.tensor([1.0, -1.0, 0.5, -0.5])
    metric = ClipScore(model="suite", scale=2.5, floor=True)
    assert metric.value(metric.statistics(given(x, t, PROMPTS[:4])), None).value == pytest.approx(2.5 * 1.5 / 4)


def test_the_interval_is_the_standard_error(judge: ClipNetwork) -> None:
    found = score(made(PROMPTS * 5))
    assert found.influence is not None and found.high is not None
    assert found.high - found.value == pytest.approx(1.96 * found.influence.std(ddof=1) / 30**0.5, rel=1e-3)


def given(images: Tensor, texts: Tensor, prompts: tuple[str, ...]) -> Batch:
    """A batch of a suite with a CLIP model of its own."""
    return Batch(images, prompts=prompts, extracted={"clip": (images, texts)})


def test_the_control_is_all_pairs_of_other_captions() -> None:
    source = torch.Generator().manual_seed(0)
    x = nn.functional.normalize(torch.randn(40, 8, generator=source), dim=1)
    table = nn.functional.normalize(torch.randn(5, 8, generator=source), dim=1)
    which = torch.randint(0, 5, (40,), generator=source)
    metric = ClipScore(model="suite")
    batch = given(x, table[which], tuple(f"caption {i}" for i in which))
    found = metric.value(metric.statistics(batch), None)
    pairs = [float(x[i] @ table[which[j]]) for i in range(40) for j in range(40) if which[i] != which[j]]
    assert found.detail["shuffled"] == pytest.approx(100 * np.mean(pairs), rel=1e-6)


@pytest.mark.parametrize("captions", [1000, 6], ids=["all different", "often the same"])
def test_the_control_counts_standard_errors(captions: int) -> None:
    """Under the null (pictures know nothing of captions) the margin is standard normal."""
    rng = np.random.default_rng(0)
    table = torch.from_numpy(rng.standard_normal((captions, 4)) + 0.5).float()
    metric, margins = ClipScore(model="suite"), []
    for _ in range(300):
        x, which = torch.from_numpy(rng.standard_normal((60, 4)) + 0.5).float(), rng.integers(0, captions, 60)
        batch = given(x, table[which], tuple(f"caption {i}" for i in which))
        margins.append(metric.value(metric.statistics(batch), None).detail["above_shuffled"])
    assert abs(np.mean(margins)) < 4 / 300**0.5
    assert np.std(margins) == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize("counts", [(1,) * 12, (2, 3, 7), (1, 11)], ids=["all different", "groups", "one against all"])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_error_of_the_margin_is_the_derivatives(counts: tuple[int, ...], scale: float) -> None:
    """The margin as a function of the samples' weights; its gradient is each sample's influence."""
    rng, n = np.random.default_rng(0), sum(counts)
    which = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    table = torch.from_numpy(rng.standard_normal((len(counts), 4))).float()
    x = (torch.from_numpy(rng.standard_normal((n, 4))).float() + table[which]) / 2
    cosines = x.double() @ table[which].double().T
    different = torch.from_numpy(which[:, None] != which[None, :])

    def margin(weights: Tensor) -> Tensor:
        pairs = weights[:, None] * weights[None, :] * different
        return (weights * cosines.diagonal()).sum() / weights.sum() - (pairs * cosines).sum() / pairs.sum()

    weights = torch.ones(n, dtype=torch.float64, requires_grad=True)
    expected = margin(weights)
    influence = n * torch.autograd.grad(expected, weights)[0].numpy()
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    error = influence.std(ddof=1) / n**0.5
    metric = ClipScore(model="suite", scale=scale)
    found = metric.value(metric.statistics(given(x, table[which], tuple(f"caption {i}" for i in which))), None)
    assert found.detail["shuffled"] == pytest.approx(found.value - scale * expected.item(), rel=1e-9)
    assert found.detail["above_shuffled"] == pytest.approx(expected.item() / error, rel=1e-6)


def test_the_control_has_no_floor() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    metric = ClipScore(model="suite", scale=2.5, floor=True)
    found = metric.value(metric.statistics(given(x, torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), ("a", "b"))), None)
    assert found.value == 2.5
    assert found.detail == {"shuffled": -2.5}  # no sample differs from another: there is no standard error


def test_captions_that_are_all_the_same_have_no_control() -> None:
    x = torch.eye(4)
    metric = ClipScore(model="suite")
    assert metric.value(metric.statistics(given(x, x, ("one",) * 4)), None).detail == {}


def test_all_that_the_number_depends_on_is_in_the_id() -> None:
    ids = [
        registry.create("metric", text).network_id()
        for text in (
            "clip_score",
            "clip_score[scale=1]",
            "clip_score[scale=2.5,floor=true]",
            "clip_score[model=ViT-B-32]",
            "clip_score[model=ViT-B-32,checkpoint=laion2b_s34b_b79k]",
        )
    ]
    assert len(set(ids)) == len(ids)
    assert ids[0] == "clip-vit-l-14-openai@b8cca3fd/own/100cos"
    assert ids[2].endswith("/2.5max0cos")
    metric = registry.create("metric", "clip_score[template=a photo of {}]")
    assert registry.canonical("metric", "clip_score", metric) == "clip_score[template=a photo of {}]"


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "a: {}", "{}/"])
def test_templates_that_an_id_cannot_carry(template: str) -> None:
    with pytest.raises(UsageError, match=r"a template has \{\} once"):
        registry.create("metric", f"clip_score[template={template}]")


def test_what_is_missing_is_said(judge: ClipNetwork) -> None:
    batch = made(PROMPTS)
    with pytest.raises(ValueError, match="needs prompts"):
        ClipScore().statistics(Batch(batch.samples, images=batch.images))
    with pytest.raises(ValueError, match="needs images"):
        ClipScore().statistics(Batch(batch.samples, prompts=PROMPTS))
    with pytest.raises(ValueError, match=r"write clip_score\[model=ViT-L-14"):
        ClipScore(model="suite").statistics(batch)
