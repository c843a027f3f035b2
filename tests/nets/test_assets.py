"""The networks that are shipped."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.nets import assets
from bench.nets.assets import load_classifier, load_teacher
from bench.weights import load_weights

SHIPPED = Path(assets.__file__).parents[1] / "suites" / "assets" / "digits"


@pytest.mark.parametrize("name", ["teacher", "classifier"])
def test_shipped_assets_are_whole(name: str) -> None:
    path = SHIPPED / f"{name}.safetensors"
    state, record = load_weights(path)
    assert sum(v.numel() for v in state.values()) == record["parameters"]
    assert all(v.dtype == torch.float32 and v.isfinite().all() for v in load_file(path).values())
    assert {"config", "seed", "images_seen", "recipe", "run"} <= json.loads(
        path.with_suffix(".json").read_text(encoding="utf-8")
    ).keys()


def test_shipped_teacher_denoises() -> None:
    teacher = load_teacher(SHIPPED / "teacher.safetensors")
    x = 0.75 * torch.ones(11, 1, 8, 8)
    label = torch.arange(11)
    at_rest = teacher(x, torch.full((11,), 0.002), label)
    torch.testing.assert_close(at_rest, x, atol=0.02, rtol=0)
    # without information the answer is the class mean: inside the range of the data, and not all alike
    means = teacher(80 * x, torch.full((11,), 80.0), label)
    assert means.min() > -1.2
    assert means.max() < 1.2
    assert torch.cdist(means[:10].flatten(1), means[:10].flatten(1)).fill_diagonal_(9.0).min() > 0.5


def digits() -> tuple[Tensor, Tensor]:
    data = pytest.importorskip("sklearn.datasets").load_digits()
    return torch.tensor(data.images, dtype=torch.float32)[:, None] / 8 - 1, torch.tensor(data.target)


def test_shipped_classifier_knows_the_digits() -> None:
    images, labels = digits()
    features, logits = load_classifier(SHIPPED / "classifier.safetensors")(images)
    assert (logits.argmax(1) == labels).double().mean() > 0.99
    assert features.std(0).min() > 0.1


def test_shipped_features_see_an_averaged_digit() -> None:
    # mixing each image with the mean of its class is what too few evaluations do
    images, labels = digits()
    classifier = load_classifier(SHIPPED / "classifier.safetensors")
    means = torch.stack([images[labels == k].mean(0) for k in range(10)])[labels]
    real, _ = classifier(images)
    averaged, _ = classifier(0.5 * images + 0.5 * means)
    assert averaged.var(0).sum() < 0.9 * real.var(0).sum()


def test_shipped_teacher_denoises_digits() -> None:
    images, labels = digits()
    teacher = load_teacher(SHIPPED / "teacher.safetensors")
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    # at sigma = 80 nothing is left but the class: 0.170 is the variance of the images within their classes
    for sigma, most in ((0.1, 0.005), (0.5, 0.05), (80.0, 0.18)):
        out = teacher(images + sigma * noise, torch.full((len(images),), sigma), labels)
        assert (out - images).square().mean() < most
