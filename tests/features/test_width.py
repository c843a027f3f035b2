"""The width that an extractor states is that of the real architecture; no weights are made to see it."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.features import clip, dinov2, i3d, inception
from bench.features.base import Network
from bench.features.clip import OpenClip
from bench.features.named import KNOWN, OF_CLIPS, create


def found(network: Network, *shape: int) -> Tensor:
    return next(iter(network.eval()(torch.empty(shape, device="meta")).values()))


def _inception() -> Tensor:
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")

    class Bare(fidelity.FeatureExtractorInceptionV3):
        def load_state_dict(self, *_: object, **__: object) -> None: ...

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    inner = Bare("bare", ["2048"], feature_extractor_weights_path=empty).to("meta")
    return found(inception._Layers(inner, legacy=False), 2, 3, 299, 299)


def _dinov2() -> Tensor:
    timm = pytest.importorskip("timm")
    inner = timm.create_model("vit_large_patch14_dinov2", img_size=224, num_classes=0)
    return found(dinov2._ClassToken(inner, clean=False), 2, 3, 224, 224)


def _i3d() -> Tensor:
    architecture = pytest.importorskip("cdfvd.third_party.i3d.pytorch_i3d")
    return found(i3d._Layers(architecture.InceptionI3d(400, in_channels=3), architecture), 2, 3, 9, 224, 224)


@pytest.mark.parametrize(("name", "run"), [("inception", _inception), ("dinov2", _dinov2), ("i3d", _i3d)])
def test_stated_is_found(name: str, run: Callable[[], Tensor]) -> None:
    with torch.device("meta"):
        features = run()
    assert features.shape == (2, create(name, KNOWN | OF_CLIPS).width)


@pytest.mark.parametrize("model", ["ViT-B-32", "ViT-L-14"])
def test_stated_is_found_for_clip(model: str) -> None:
    open_clip = pytest.importorskip("open_clip")
    config = open_clip.get_model_config(model)
    with torch.device("meta"):
        network = clip.ClipNetwork(open_clip.CLIP(**config), None, None)
        assert found(network, 2, 3, 224, 224).shape == (2, OpenClip(model=model).width)


def test_without_open_clip_the_width_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip, "installed", lambda module: False)
    assert OpenClip().width is None
