"""LPIPS against torchmetrics' function, with torchvision's networks and random weights."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchmetrics.functional.image import lpips as theirs

from bench import registry
from bench.batch import Batch
from bench.errors import AssetError, UsageError
from bench.features import base
from bench.features import lpips as ours
from bench.features.lpips import Lpips
from bench.weightstore.store import entry, missing

NETS = ("alex", "vgg")


def pictures(seed: int, size: int = 40) -> Tensor:
    return torch.randint(0, 256, (5, 3, size, size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@dataclass(frozen=True)
class Case:
    """A network: its name, a file of its weights, torchvision's own, and a way to build the metric's."""

    net: str
    path: Path
    features: nn.Module
    load: Callable[[int], nn.Module]


@pytest.fixture(params=NETS)
def case(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    torch.manual_seed(0)
    models = {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16}
    with torch.device("meta"):  # classifiers are never needed, and large
        features = models[request.param](weights=None).features
    features.to_empty(device="cpu")
    for parameter in features.parameters():
        nn.init.normal_(parameter, std=0.08 if parameter.ndim > 1 else 0.1)
    path = tmp_path / "weights.pth"
    torch.save({f"features.{key}": value for key, value in features.state_dict().items()}, path)

    def load(resize: int) -> nn.Module:
        with monkeypatch.context() as patch:
            blank = copy.deepcopy(features)
            for parameter in blank.parameters():
                nn.init.zeros_(parameter)
            patch.setattr(theirs, "_get_tv_model_features", lambda *_, **__: blank)  # without the classifier
            module = Lpips(net=request.param, resize=resize).load((path,)).eval()
        monkeypatch.setattr(base, "_network", lambda *_: module)
        return module

    return Case(request.param, path, features, load)


@pytest.mark.parametrize("resize", [0, 64])
def test_equals_torchmetrics(case: Case, resize: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case.load(resize)
    monkeypatch.setattr(ours, "CHUNK", 2)
    a, b = pictures(0), pictures(1)
    metric = registry.create("metric", f"lpips[net={case.net},resize={resize}]")
    found = metric.value(metric.statistics(Batch(a, images=a, solution_images=b)), None)
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda *_, **__: case.features)
    network = theirs._NoTrainLpips(net=case.net, pnet_rand=True, resize=resize or None)
    expected = theirs._lpips_update(a / 255, b / 255, net=network, normalize=True).detach()
    assert found.value == pytest.approx(float(expected.double().mean()), rel=1e-6)
    assert found.influence == pytest.approx((expected - expected.mean()).numpy(), abs=1e-6)


def test_identical_pictures_are_at_distance_0(case: Case) -> None:
    case.load(0)
    batch = Batch(pictures(0), images=pictures(0), solution_images=pictures(0))
    metric = registry.create("metric", f"lpips[net={case.net}]")
    assert metric.value(metric.statistics(batch), None).value == 0


def test_the_smallest_pictures(case: Case) -> None:
    case.load(0)
    metric = registry.create("metric", f"lpips[net={case.net}]")
    least = Lpips(net=case.net).smallest()
    metric.statistics(Batch(pictures(0), images=pictures(0, least), solution_images=pictures(1, least)))
    with pytest.raises(UsageError, match=r"below \d+ pixels; write lpips\[net="):
        metric.statistics(Batch(pictures(0), images=pictures(0, least - 1), solution_images=pictures(1, least - 1)))


def test_heads_are_the_ones_of_the_manifest() -> None:
    folder = Path(theirs.__file__).parent / "lpips_models"
    for net in NETS:
        assert hashlib.sha256((folder / f"{net}.pth").read_bytes()).hexdigest() == entry(f"lpips-{net}").sha256


@pytest.mark.parametrize(("net", "name"), [("alex", "alexnet-torchvision"), ("vgg", "vgg16-torchvision")])
def test_without_weights_it_says_all_that_is_to_be_fetched(
    net: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    (sentence,) = missing(registry.create("metric", f"lpips[net={net}]").weights())
    assert f"run bench weights fetch {name}," in sentence
    assert "the learned weights of its layers come with torchmetrics" in sentence


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    metric = registry.create("metric", "lpips")
    with pytest.raises(ValueError, match="the teacher's images"):
        metric.statistics(Batch(pictures(0), images=pictures(0)))
    with pytest.raises(ValueError, match=r"the teacher's \(5, 3, 44, 44\)"):
        metric.statistics(Batch(pictures(0), images=pictures(0), solution_images=pictures(0, 44)))
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(AssetError, match="does not hold the weights of alex"):
        Lpips().load((tmp_path / "other.pth",))
    assert metric.needs_solution and metric.network_id() == "lpips-alex@7be5be79/none"
