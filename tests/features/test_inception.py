"""Inception against torch-fidelity's extractor and clean-fid's resize and wrapper, on the same random weights."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kernel_mmd
from torch_fidelity.metric_prc import prc_features_to_metric

from bench import registry
from bench.batch import Batch
from bench.errors import AssetError
from bench.features import base
from bench.features.base import apply, extract
from bench.features.inception import Inception
from bench.metrics._frechet import Moments
from bench.metrics.fid import FID
from bench.metrics.kid import KID, KernelRows

IMAGES = 14


class Bare(FeatureExtractorInceptionV3):
    """The architecture as it is built, before weights are put in."""

    def load_state_dict(self, *_: object, **__: object) -> None: ...


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights whose features are of order 1 and differ between images."""
    folder = tmp_path_factory.mktemp("inception")
    torch.save({}, folder / "empty.pth")
    bare = Bare("bare", ["2048"], feature_extractor_weights_path=folder / "empty.pth")
    source = torch.Generator().manual_seed(0)
    for layer in bare.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.normal_(std=(2 / layer.weight[0].numel()) ** 0.5, generator=source)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.1, generator=source)
            layer.bias.normal_(std=0.1, generator=source)
    bare.fc.weight.normal_(std=0.1, generator=source)
    torch.save(bare.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Pictures that are not square, smooth enough that resizes differ but little."""
    coarse = torch.rand(IMAGES, 3, 5, 4, generator=torch.Generator().manual_seed(1))
    return (nn.functional.interpolate(coarse, size=(50, 40), mode="bicubic").clamp(0, 1) * 255).round().to(torch.uint8)


@pytest.fixture(scope="module")
def theirs(weights: Path, images: Tensor) -> tuple[Tensor, Tensor]:
    """torch-fidelity's features and logits without bias."""
    names = ["2048", "logits_unbiased"]
    with torch.inference_mode():
        features, logits = FeatureExtractorInceptionV3("theirs", names, feature_extractor_weights_path=weights)(images)
    return features, logits


@pytest.fixture(scope="module")
def legacy(weights: Path, images: Tensor) -> dict[str, Tensor]:
    return apply(Inception(resize="legacy").load((weights,)).eval(), images)


@pytest.fixture(scope="module")
def clean(weights: Path, images: Tensor) -> dict[str, Tensor]:
    return apply(Inception(resize="clean").load((weights,)).eval(), images)


def test_legacy_is_torch_fidelity(legacy: dict[str, Tensor], theirs: tuple[Tensor, Tensor]) -> None:
    features, logits = theirs
    assert features.std(0).mean() > 0.01 * features.mean()  # images are told apart
    torch.testing.assert_close(legacy["features"], features, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(legacy["probs"], logits.double().softmax(1).float(), rtol=1e-5, atol=1e-8)


def test_clean_is_clean_fid(clean: dict[str, Tensor], weights: Path, images: Tensor, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of clean-fid's imports, of Pillow's mode, of TorchScript
        from cleanfid.inception_torchscript import InceptionV3W
        from cleanfid.resize import build_resizer

        resizer = build_resizer("clean")
        resized = np.stack([resizer(image.permute(1, 2, 0).numpy()) for image in images]).transpose(0, 3, 1, 2)
        inner = Inception().load((weights,)).inner
        layers = list(inner.children())[:-1]  # clean-fid's file has the same layers under this name
        traced = torch.jit.trace(nn.Sequential(*layers).eval(), torch.zeros(1, 3, 299, 299))
        torch.jit.save(torch.jit.script(_Holder(traced)), tmp_path / "inception-2015-12-05.pt")
        wrapper = InceptionV3W(str(tmp_path), download=False)
        with torch.inference_mode():
            expected = wrapper(torch.from_numpy(resized))
    torch.testing.assert_close(clean["features"], expected, rtol=1e-6, atol=1e-6)


class _Holder(nn.Module):
    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def test_the_resizes_are_not_interchangeable(clean: dict[str, Tensor], legacy: dict[str, Tensor]) -> None:
    difference = (clean["features"] - legacy["features"]).abs().mean()
    assert difference > 1e-3 * clean["features"].abs().mean()
    assert Inception(resize="clean").id != Inception(resize="legacy").id


def test_the_batch_size_is_irrelevant(
    weights: Path, images: Tensor, legacy: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "CHUNK", 3)
    found = apply(Inception(resize="legacy").load((weights,)).eval(), images[:7])
    torch.testing.assert_close(found["features"], legacy["features"][:7], rtol=1e-5, atol=1e-6)


def test_metrics_equal_torch_fidelity(
    weights: Path,
    images: Tensor,
    legacy: dict[str, Tensor],
    theirs: tuple[Tensor, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "network", lambda _: None)  # both batches have been seen
    extractor = Inception(resize="legacy")
    half = IMAGES // 2
    x, y = theirs[0][:half], theirs[0][half:]

    def value(text: str) -> float:
        metric = registry.create("metric", text)
        parts = [slice(0, 3), slice(3, half)]
        batches = [batch(part) for part in (*parts, slice(half, None))]
        statistics = metric.statistics(batches[0]) + metric.statistics(batches[1])
        reference = metric.statistics(batches[2]) if metric.needs_reference else None
        found: float = metric.value(statistics, reference).value
        return found

    def batch(part: slice) -> Batch:
        known = {extractor.id: {key: found[part] for key, found in legacy.items()}}
        return Batch(images[part], images=images[part], extracted=known)

    # their eigenvalues of 2,048 x 2,048 take half a minute, so FID is on some of the features, in test_fd on all kinds
    kid = kernel_mmd(x.double().numpy(), y.double().numpy(), kid_kernel="poly", kid_kernel_poly_degree=3,
                     kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1)  # fmt: skip
    assert value("kid[features=inception[resize=legacy]]") == pytest.approx(float(kid), rel=1e-6)
    score = isc_features_to_metric(theirs[1][:half], splits=1, shuffle=False)["inception_score_mean"]
    assert value("inception_score[features=inception[resize=legacy]]") == pytest.approx(score, rel=1e-6)
    prc = prc_features_to_metric(
        x.double(), y.double(), prc_neighborhood=3, prc_batch_size=100, save_cpu_ram=False, verbose=False
    )
    assert value("precision[k=3,features=inception[resize=legacy]]") == pytest.approx(prc["precision"])
    assert value("recall[k=3,features=inception[resize=legacy]]") == pytest.approx(prc["recall"])


def fid(x: Tensor, y: Tensor) -> float:
    return FID().value(Moments(x.numpy()), Moments(y.numpy())).value


def test_fid_equals_torch_fidelity(theirs: tuple[Tensor, Tensor]) -> None:
    x, y = (part[:, ::16].double() for part in theirs[0].split(IMAGES // 2))
    statistics = [fid_features_to_statistics(part) for part in (x, y)]
    expected = fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
    assert fid(x, y) == pytest.approx(expected, rel=1e-6)


def test_fid_and_kid_equal_clean_fid(theirs: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cleanfid import fid as cleanfid

    root = cleanfid.linalg.sqrtm
    monkeypatch.setattr(cleanfid.linalg, "sqrtm", lambda a, disp=True: (root(a), None))  # scipy 1.18 has no disp
    # as few features as there may be for a square root that exists
    varied = theirs[0].std(0).argsort(descending=True)[:4]
    x, y = (part[:, varied].double() for part in theirs[0].split(IMAGES // 2))
    (mu, sigma), (other, covariance) = ((part.mean(0).numpy(), np.cov(part.numpy().T)) for part in (x, y))
    assert fid(x, y) == pytest.approx(cleanfid.frechet_distance(mu, sigma, other, covariance), rel=1e-6)
    ours = KID().value(KernelRows(x.numpy()), KernelRows(y.numpy())).value
    # one subset of all rows: the order they are drawn in changes no sum
    assert ours == pytest.approx(cleanfid.kernel_distance(x.numpy(), y.numpy(), num_subsets=1), rel=1e-6)


def test_a_network_runs_once_for_all_metrics(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def count(network: object, pixels: Tensor) -> dict[str, Tensor]:
        calls.append(len(pixels))
        return {"features": torch.zeros(len(pixels), 4), "probs": torch.ones(len(pixels), 2)}

    monkeypatch.setattr(base, "network", lambda _: None)
    monkeypatch.setattr(base, "apply", count)
    batch = Batch(images, images=images)
    for text in ("fid", "kid[features=inception]", "inception_score[features=inception]", "fid[resize=legacy]"):
        registry.create("metric", text).statistics(batch)
    assert calls == [IMAGES, IMAGES]  # one resize each
    assert extract(Inception(), batch, "probs").shape == (IMAGES, 2)


def test_files_that_are_not_the_weights(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "other.pth").read_bytes()[:100])
    torch.save({"network": nn.Linear}, tmp_path / "code.pth")
    with pytest.raises(AssetError, match="does not hold the weights of Inception v3"):
        Inception().load((tmp_path / "other.pth",))
    for name in ("cut.pth", "code.pth", "absent.pth"):
        with pytest.raises(AssetError, match="cannot be read as weights"):
            Inception().load((tmp_path / name,))
