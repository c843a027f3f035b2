"""What every extractor gets for nothing: names, hashes, one run per batch, float32 as written, clear errors."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench import registry
from bench.batch import Batch
from bench.errors import AssetError, UsageError
from bench.features import base, named
from bench.features.base import Extractor, Network, apply, exactly, extract, network, require, use_device, weights_hash
from bench.features.clip import OpenClip
from bench.features.inception import Inception
from bench.features.lpips import Lpips
from bench.features.preference import PickScore
from bench.weightstore import lock


class Pooled(Network):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.seen: list[int] = []

    def prepare(self, images: Tensor) -> Tensor:
        return images.float()

    def forward(self, prepared: Tensor) -> dict[str, Tensor]:
        self.seen.append(len(prepared))
        return {"features": self.scale * prepared.mean((2, 3)), "most": prepared.amax((2, 3))}


class Tiny(Extractor):
    outputs = ("features", "most")
    grey: bool = False

    @property
    def name(self) -> str:
        return "tiny"

    @property
    def resolution(self) -> int:
        return 8

    def weights(self) -> tuple[str, ...]:
        return ("inception-v3-tf",)

    @property
    def preprocessing(self) -> str:
        return "grey" if self.grey else "own"

    def load(self, files: tuple[Path, ...]) -> Network:
        return Pooled()


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (70, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    return tmp_path


def test_ids_carry_weights_and_preprocessing(store: Path) -> None:
    assert Tiny().id == "tiny@6726825d/own"
    assert Tiny(grey=True).id == "tiny@6726825d/grey"
    assert named.create("inception[resize=legacy]").id == "inception-v3-tf@6726825d/legacy"


def test_an_unpublished_hash_is_the_accepted_files(store: Path) -> None:
    assert weights_hash(("pickscore-v1",)) == "unknown"
    path = store / "pickscore-v1" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    lock.pin("pickscore-v1/model.safetensors", lock.digest(path), "trusted")
    assert weights_hash(("pickscore-v1",)) == lock.digest(path)[:8]


def test_missing_weights_are_a_sentence(store: Path) -> None:
    with pytest.raises(AssetError, match="bench weights fetch inception-v3-tf"):
        network(Tiny(grey=True))


def test_batches_leave_no_trace(images: Tensor) -> None:
    module = Pooled()
    found = apply(module, images)
    assert max(module.seen) == base.CHUNK and sum(module.seen) == 70
    torch.testing.assert_close(found["features"], images.double().mean((2, 3)).float())
    parts = [apply(Pooled(), part)["most"] for part in images.split(7)]
    assert torch.equal(torch.cat(parts), found["most"])


def test_a_batch_is_seen_once(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    module = Pooled()
    monkeypatch.setattr(base, "network", lambda _: module)
    batch = Batch(images, images=images)
    assert torch.equal(extract(Tiny(), batch), extract(Tiny(), batch))
    assert extract(Tiny(), batch, "most").max() == images.max()
    assert sum(module.seen) == 70
    with pytest.raises(ValueError, match="tiny needs images"):
        extract(Tiny(), Batch(images))


@pytest.mark.parametrize("images", [torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)])
def test_only_colour_pictures_of_bytes(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"must be \(B, 3, H, W\) uint8"):
        apply(Pooled(), images)


def test_float32_as_it_is_written(images: Tensor) -> None:
    class Watching(Pooled):
        def forward(self, prepared: Tensor) -> dict[str, Tensor]:
            assert not torch.is_autocast_enabled("cpu") and not torch.backends.cudnn.allow_tf32
            assert torch.is_inference_mode_enabled()
            return super().forward(prepared)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        apply(Watching(), images)


def test_the_device_in_use_is_part_of_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "find", lambda name: Path(name))
    try:
        use_device("meta")
        assert next(network(Tiny()).parameters()).device.type == "meta"
        use_device("cpu")
        assert next(network(Tiny()).parameters()).device.type == "cpu"
        assert network(Tiny()) is network(Tiny())
    finally:
        use_device("cpu")
        base._network.cache_clear()


def test_names_and_their_canonical_form() -> None:
    assert named.canonical("inception[resize=clean]") == "inception"
    assert named.canonical("clip[checkpoint=laion2b_s34b_b79k,model=ViT-B-32]") == (
        "clip[model=ViT-B-32,checkpoint=laion2b_s34b_b79k]"
    )
    with pytest.raises(UsageError, match="did you mean inception"):
        named.create("inceptoin")
    with pytest.raises(UsageError, match="did you mean resize"):
        named.create("inception[resise=clean]")
    with pytest.raises(UsageError, match=r"resize: .* not 'bilinear'"):
        named.create("inception[resize=bilinear]")


def test_a_missing_package_is_known_before_anything_is_loaded(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "no-such-package is not installed; run pip install 'fewstep-bench[metrics]'"
    for extractor in (Inception, OpenClip, Lpips, PickScore):
        monkeypatch.setattr(extractor, "packages", ("torch", "no_such_package"))
    for text in ("fid", "kid[features=inception]", "cmmd", "clip_score", "lpips", "pick_score"):
        assert registry.create("metric", text).problem() == said
    monkeypatch.setitem(sys.modules, "ImageReward", None)
    assert "its package needs transformers 4" in registry.create("metric", "image_reward").problem()
    for text in ("fd", "clip_score[model=suite]", "fd_dinov2", "rmse", "fid[resize=legacy]"):
        assert registry.create("metric", text).problem() == (said if text.startswith("fid") else "")


def test_a_missing_package_says_how_to_get_it() -> None:
    with pytest.raises(
        UsageError, match=r"no-such-package is not installed; run pip install 'fewstep-bench\[metrics\]'"
    ):
        require("no_such_package.part", "metrics")


@pytest.mark.parametrize("enabled", [True, False])
def test_exactly_takes_tf32_away_and_leaves_cudnn_as_it_is(enabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(cudnn, "enabled", enabled)
    monkeypatch.setattr(cudnn, "allow_tf32", True)
    with exactly(torch.device("cpu")):
        assert (cudnn.enabled, cudnn.allow_tf32, cudnn.benchmark) == (enabled, False, False)
    assert (cudnn.enabled, cudnn.allow_tf32) == (enabled, True)
