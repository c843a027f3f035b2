from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.batch import Batch
from bench.errors import AssetError, UsageError
from bench.features import i3d
from bench.features.base import Network
from bench.features.i3d import I3D, logits
from bench.metrics import fvd
from bench.metrics.fvd import FVD
from bench.reference.statistics import Reference

pytest.importorskip("cdfvd.third_party.i3d.utils")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the real architecture, of a size that lets the picture reach the logits."""
    from cdfvd.third_party.i3d.pytorch_i3d import InceptionI3d

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("i3d") / "i3d_pretrained_400.pt"
    module = InceptionI3d(400, in_channels=3)
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv3d):
            torch.nn.init.kaiming_normal_(layer.weight)
    torch.save(module.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def network(weights: Path) -> Network:
    return I3D(conversion="tats").load((weights,)).eval().requires_grad_(False)


def clips(count: int, frames: int = 9, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, frames, 3, 24, 32), dtype=torch.uint8, generator=generator)


def test_logits_and_distance_equal_the_librarys_own(
    weights: Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cdfvd.third_party.i3d.utils import frechet_distance, load_i3d_model, preprocess_i3d

    monkeypatch.setattr(fvd, "network", lambda _: network)
    monkeypatch.setattr(I3D, "id", "i3d")
    theirs = load_i3d_model("cpu", str(weights))
    sets = [clips(3), clips(3, seed=1)]
    with torch.no_grad():
        expected = [theirs(preprocess_i3d(each.permute(0, 1, 3, 4, 2).numpy())) for each in sets]
    metric = FVD()
    ours = [metric.statistics(Batch(samples=each, clips=each)) for each in sets]
    assert (expected[0] - expected[1]).abs().mean() > 1e-2, "the network tells the clips apart"
    for found, wanted in zip(ours, expected, strict=True):
        np.testing.assert_allclose(found.rows, wanted.numpy(), rtol=1e-6, atol=1e-6)
    distance = float(frechet_distance(expected[0].double(), expected[1].double()))
    assert metric.value(ours[0], ours[1]).value == pytest.approx(distance, rel=1e-4)


def test_one_pass_for_all_who_ask_and_no_trace_of_batches(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(i3d, "CLIPS", 2)
    monkeypatch.setattr(I3D, "id", "i3d")
    given = clips(3)
    whole = logits(network, given)
    np.testing.assert_allclose(logits(network, given[2:]), whole[2:], atol=1e-5)
    batch = Batch(samples=given, clips=given, extracted={"i3d": whole})
    monkeypatch.setattr(fvd, "network", lambda _: pytest.fail("the network ran again"))
    np.testing.assert_array_equal(FVD().statistics(batch).rows, whole.numpy())


def test_short_clips_are_a_sentence(network: Network) -> None:
    with pytest.raises(UsageError, match="9 frames or more, and these have 8"):
        logits(network, clips(1, frames=8))


def test_clips_are_needed() -> None:
    with pytest.raises(ValueError, match="fvd needs clips"):
        FVD().statistics(Batch(samples=torch.zeros(1, 1)))


def test_other_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(AssetError, match="does not hold the weights of I3D"):
        I3D(conversion="tats").load((tmp_path / "other.pt",))


class Archive(torch.nn.Module):
    """Called like StyleGAN-V's archive: 400 numbers that say what it was given."""

    def forward(self, x: Tensor, rescale: bool, resize: bool, return_features: bool) -> Tensor:
        flags = 1.0 * rescale + 2.0 * resize + 4.0 * return_features
        first = x[:, 0, 1].mean((1, 2))  # red of the second frame
        return torch.stack([first, torch.full_like(first, flags)], 1).repeat(1, 200)


def test_the_torchscript_archive_is_called_as_its_authors_do(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ours, not of what is tested
        torch.jit.script(Archive()).save(str(tmp_path / "i3d_torchscript.pt"))
    module = I3D().load((tmp_path / "i3d_torchscript.pt",))
    module.register_parameter("device", torch.nn.Parameter(torch.zeros(1)))  # the stand-in has no weights
    given = clips(5)
    found = logits(module, given)
    np.testing.assert_allclose(found[:, 0], given[:, 1, 0].float().mean((1, 2)), rtol=1e-5)
    assert found.shape == (5, 400)
    assert (found[:, 1] == 7).all()
    (tmp_path / "broken.pt").write_bytes(b"PK not an archive")
    with pytest.raises(AssetError, match="is not the TorchScript archive of I3D"):
        I3D().load((tmp_path / "broken.pt",))


def test_what_is_missing_is_known_before_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FVD(conversion="tats").problem() == ""
    monkeypatch.setitem(sys.modules, "cdfvd", None)
    assert FVD(conversion="tats").problem() == "cd-fvd is not installed; run pip install 'fewstep-bench[video]'"
    assert FVD().problem() == "", "the archive needs no package"


def test_the_two_conversions_have_different_ids() -> None:
    assert I3D().id == "i3d-kinetics-400@bec6519f/stylegan-v"
    assert FVD(conversion="tats").weights() == ("i3d-kinetics-400-tats",)


def test_reference_statistics_of_another_network_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(I3D, "id", "i3d-kinetics-400@12345678/bilinear")

    def known(extractor: str) -> Any:
        return Reference(extractor, None, "none", 10, np.zeros(400), np.eye(400))

    assert FVD().reference(known("i3d-kinetics-400@12345678/bilinear")).width == 400
    with pytest.raises(UsageError, match="inception"):
        FVD().reference(known("inception-v3-tf@6726825d/clean"))
