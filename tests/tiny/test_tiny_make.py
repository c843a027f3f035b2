"""The recipes end to end, two steps long: the folders they write are what diffusers, open-clip and the suites read."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bench.nets.optimise import Plan, ignore
from bench.tiny import assets, cifar, make, motion, text_to_image, tiny_clip, video

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("open_clip")

SHORT = Plan(steps=2, warm_up=1, batch=4)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (motion, text_to_image, tiny_clip, video):
        monkeypatch.setattr(module, "Recipe", partial(module.Recipe, plan=SHORT))


def pictures() -> cifar.Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (20, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return cifar.Images("noise", pixels, torch.arange(20) % 10, "0" * 64)


@pytest.mark.filterwarnings("ignore")  # third parties'
def test_tiny_t2i_is_written_whole(tmp_path: Path) -> None:
    make.make_tiny_t2i(pictures(), pictures(), tmp_path, seed=0, progress=ignore)
    assets.verify(tmp_path)
    assert not list(tmp_path.glob("*.checkpoint"))
    record = assets.read_record(tmp_path)
    assert record["teacher"]["seed"] != record["judge"]["seed"] and record["teacher"]["data"] == "noise"
    unet = diffusers.UNet2DConditionModel.from_pretrained(str(tmp_path / "pipeline" / "unet"))
    assert unet.config.sample_size == 16 and unet.config.in_channels == 3
    for part in ("unet/diffusion_pytorch_model", "text_encoder/model"):
        stored = load_file(tmp_path / "pipeline" / f"{part}.safetensors")
        assert {value.dtype for value in stored.values() if value.is_floating_point()} == {torch.float16}
    scheduler = diffusers.DDIMScheduler.from_pretrained(str(tmp_path / "pipeline" / "scheduler"))
    assert scheduler.config.prediction_type == "v_prediction"


@pytest.mark.filterwarnings("ignore")
def test_moving_digits_is_written_whole(tmp_path: Path) -> None:
    make.make_moving_digits(tmp_path, seed=0, progress=ignore)
    assets.verify(tmp_path)
    transformer = diffusers.WanTransformer3DModel.from_pretrained(str(tmp_path / "pipeline" / "transformer"))
    assert transformer.config.patch_size in ((2, 4, 4), [2, 4, 4])
    network = motion.load(tmp_path / "motion.safetensors")
    features, logits = network(torch.zeros(2, 1, 8, 16, 16))
    assert features.shape == (2, 64) and logits.shape == (2, 10)
