"""A network of one's own as a suite: every process and prediction gives back the data that a perfect network knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from bench import registry
from bench.errors import AssetError, BenchError, UsageError
from bench.quoting import quote
from bench.request import suite_spec
from bench.sampling import Teacher
from bench.suites import _pipeline

CPU = torch.device("cpu")

MODEL = '''
"""Predictions of networks that know their data: grey of the class's own level."""

import torch
from torch import nn


class Perfect(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.level = nn.Parameter(torch.zeros(4))

    def forward(self, x_t, t, label=None):
        x0 = self.level[torch.zeros(len(x_t), dtype=torch.long) if label is None else label]
        x0 = x0.view(-1, 1, 1, 1).expand_as(x_t)
        t = t.view(-1, 1, 1, 1)
        if self.kind == "x0":
            return x0
        if self.kind == "velocity":  # x_t = (1 - t) x0 + t eps
            return (x_t - x0) / t
        if self.kind == "edm":  # t = log(sigma) / 4, x_t = x / sqrt(sigma^2 + 1/4)
            sigma = (4 * t).exp()
            x = x_t * (sigma**2 + 0.25).sqrt()
            return (x0 - x * 0.25 / (sigma**2 + 0.25)) / (sigma * 0.5 / (sigma**2 + 0.25).sqrt())
        alpha, noise = (-(19.9 * t**2 + 0.2 * t) / 4).exp(), None  # vp_linear
        noise = (1 - alpha**2).sqrt()
        eps = (x_t - alpha * x0) / noise
        return eps if self.kind == "eps" else alpha * eps - noise * x0


def make_x0():
    return Perfect("x0")


def make_velocity():
    return Perfect("velocity")


def make_edm():
    return Perfect("edm")


def make_eps():
    return Perfect("eps")


def make_v():
    return Perfect("v")


def make_nothing():
    return 3


def make_trouble():
    return 1 / 0
'''

LEVELS = [-0.5, 0.0, 0.25, 1.0]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "model.py").write_text(MODEL)
    save_file({"level": torch.tensor(LEVELS)}, tmp_path / "model.safetensors")
    yield tmp_path
    _pipeline.forget()


def suite_of(folder: Path, kind: str = "x0", **params: Any) -> Any:
    given = {
        "module": f"{folder / 'model.py'}:make_{kind}",
        "weights": folder / "model.safetensors",
        "trained_on": "edm",
        "prediction": kind,
        "size": "1x4x4",
        "classes": 3,
        **params,
    }
    text = ",".join(f"{key}={quote(str(value))}" for key, value in given.items())
    return registry.create("suite", f"network[{text}]")


@pytest.mark.parametrize(
    ("kind", "process"),
    [
        ("x0", "edm"),
        ("x0", "ve"),
        ("x0", "vp_cosine"),
        ("x0", "ddpm"),
        ("edm", "edm"),
        ("velocity", "flow"),
        ("eps", "vp_linear"),
        ("v", "vp_linear"),
    ],
)
def test_a_perfect_network_gives_its_data(folder: Path, kind: str, process: str) -> None:
    suite = suite_of(folder, kind, trained_on=process)
    samples, ledger = Teacher.load(suite).generate(registry.create("method", "ddim"), 3, 0, range(6))
    assert ledger.nfe == 3
    expected = torch.tensor(LEVELS)[[0, 1, 2, 0, 1, 2]].view(-1, 1, 1, 1).expand(6, 1, 4, 4)
    torch.testing.assert_close(samples, expected, atol=2e-4 if kind == "x0" else 2e-2, rtol=0)
    batch = suite.describe(samples, suite.label(range(6)))
    assert batch.images is not None and batch.images.shape == (6, 3, 4, 4) and batch.prompts is None


def test_the_time_of_variance_exploding_runs_between_ones_own_levels(folder: Path) -> None:
    suite = suite_of(folder, trained_on="ve", lowest=0.002, highest=80.0)
    ends = torch.tensor([suite.sigma_min, suite.sigma_max], dtype=torch.float64)
    torch.testing.assert_close(suite.process.time(ends), torch.tensor([0.0, 1.0], dtype=torch.float64))


def test_guidance_leads_away_from_no_class(folder: Path) -> None:
    suite = suite_of(folder, guidance_scale=2.0)
    samples, ledger = Teacher.load(suite).generate(registry.create("method", "ddim"), 2, 0, range(3))
    expected = 2 * torch.tensor(LEVELS[:3]) - LEVELS[3]  # the label 3 stands for no class
    torch.testing.assert_close(samples[:, 0, 0, 0], expected)
    assert ledger.network_rows == 12


def test_without_classes_no_label_is_given(folder: Path) -> None:
    suite = suite_of(folder, classes=0)
    samples, _ = Teacher.load(suite).generate(registry.create("method", "ddim"), 1, 0, range(2))
    assert samples.unique().tolist() == [LEVELS[0]]


def test_a_decoder_of_ones_own(folder: Path) -> None:
    with (folder / "model.py").open("a") as file:
        file.write("\n\ndef decode(samples):\n    return samples.expand(-1, 3, -1, -1) * 0 + 0.5\n")
    suite = suite_of(folder)
    found = suite.describe(torch.zeros(2, 1, 4, 4), suite.label(range(2))).images
    assert found.unique().tolist() == [128]  # 127.5 is rounded half to even


@pytest.mark.parametrize("size", ["3x32", "32", "4x8x8", "3x4x8x8"])
def test_samples_that_are_no_pictures_need_a_decoder_which_is_known_before_a_run(folder: Path, size: str) -> None:
    suite = suite_of(folder, size=size)
    with pytest.raises(UsageError, match=rf"size={size}: .* are no pictures; define decode"):
        suite.verify()
    with (folder / "model.py").open("a") as file:
        file.write("\n\ndef decode(samples):\n    return samples\n")
    suite.verify()


def test_a_toml_file(folder: Path) -> None:
    (folder / "my.toml").write_text(
        'suite = "network"\nmodule = "model.py:make_x0"\nweights = "model.safetensors"\ntrained_on = "edm"\n'
        'prediction = "x0"\nsize = "1x4x4"\nclasses = 3\nhighest = 20.0\n'
    )
    suite = registry.create("suite", suite_spec(str(folder / "my.toml")))
    suite.verify()
    assert suite.sigma_max == 20.0 and suite.shape == (1, 4, 4)


def test_identity_follows_code_and_weights(folder: Path) -> None:
    suite = suite_of(folder)
    before = suite.teacher_id()
    assert suite_of(folder, classes=2).teacher_id() != before
    save_file({"level": torch.ones(4)}, folder / "model.safetensors")
    changed = suite.teacher_id()
    with (folder / "model.py").open("a") as file:
        file.write("\n\nX = 1\n")
    assert len({before, changed, suite.teacher_id()}) == 3


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ({"module": "model.py"}, UsageError, "path.py:function"),
        ({"module": "nowhere.py:make"}, AssetError, "a file of the network is missing"),
        ({"module": "{folder}/model.py:make"}, UsageError, "has no function make; it has: make_x0"),
        ({"module": "{folder}/model.py:make_nothing"}, UsageError, "must return a torch.nn.Module, not int"),
        ({"module": "{folder}/broken.py:make"}, UsageError, "cannot be imported: ZeroDivisionError"),
        ({"weights": "{folder}/other.safetensors"}, AssetError, "do not fit the module"),
        ({"weights": "{folder}/model.py"}, AssetError, "cannot be read as safetensors"),
        ({"size": "3x"}, UsageError, "such as 3x32x32"),
        ({"module": "{folder}/model.py:make_trouble"}, UsageError, "make_trouble in .* raised ZeroDivisionError"),
        ({"lowest": 80}, UsageError, "lowest must be below the largest noise level, 80, not 80"),
        ({"classes": 0, "guidance_scale": 2}, UsageError, "say how many classes there are"),
        ({"trained_on": "ddpm", "highest": 3}, UsageError, "largest noise level of its own"),
        ({"trained_on": "vp"}, UsageError, "trained_on"),
        ({"size": "3x32"}, UsageError, "are no pictures"),
        ({"size": "4x4x4"}, UsageError, "are no pictures"),
    ],
)
def test_a_mistake_is_one_sentence(folder: Path, params: dict[str, str], error: type[BenchError], words: str) -> None:
    (folder / "broken.py").write_text("1 / 0\n")
    save_file({"other": torch.ones(1)}, folder / "other.safetensors")
    with pytest.raises(error, match=words) as caught:
        suite = suite_of(folder, **{key: str(value).replace("{folder}", str(folder)) for key, value in params.items()})
        suite.verify()
        suite.network(CPU, torch.float32)
        suite.describe(torch.zeros(1, *suite.shape), suite.label(range(1)))
    assert "\n" not in str(caught.value)
