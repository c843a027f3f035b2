"""LoRA, slicing, compilation, precision, damaged files; weights are shared."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import AssetError
from bench.pipelines import loading
from bench.pipelines.base import Pipeline, Settings
from bench.pipelines.hub import locate
from bench.pipelines.loading import Source

sys.path.insert(0, str(Path(__file__).parent))
import parity
import tiny

CPU = torch.device("cpu")
PROMPTS = ["a cat", "two dogs"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.stable_diffusion(), tmp_path_factory.mktemp("loading") / "sd")


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    yield
    loading.forget()


def opened(folder: Path, dtype: torch.dtype = torch.float32, **options: Any) -> Pipeline:
    return loading.open_pipeline(Source(str(folder), **options), Settings(guidance_scale=2.0), CPU, dtype)


def sample(pipeline: Pipeline) -> torch.Tensor:
    grid = parity.grid_of(pipeline, 2)
    with tiny.quiet():
        return parity.ours(pipeline, PROMPTS, parity.noise(pipeline).normal(), grid)


def test_what_was_saved_is_what_samples(folder: Path) -> None:
    pipeline = opened(folder)
    assert parity.compare(pipeline, PROMPTS, 4) <= parity.TOLERANCE
    for module in loading.modules(pipeline.pipe).values():
        assert not module.training and not any(weight.requires_grad for weight in module.parameters())


def test_modules_are_loaded_once(folder: Path) -> None:
    first, second = opened(folder), opened(folder)
    assert first.pipe is second.pipe
    assert opened(folder, torch.bfloat16).pipe is not first.pipe


def test_precision(folder: Path) -> None:
    exact = sample(opened(folder))
    rounded = opened(folder, torch.bfloat16)
    assert {part.dtype for part in loading.modules(rounded.pipe).values()} == {torch.bfloat16}
    found = sample(rounded)
    assert found.dtype == torch.float32
    assert 0 < parity.error(found, exact) < 0.2


def test_slicing_changes_no_result(folder: Path) -> None:
    plain, sliced = opened(folder), opened(folder, slicing=True)
    assert sliced.pipe.vae.use_slicing and not plain.pipe.vae.use_slicing
    latents = sample(plain)
    assert parity.error(sample(sliced), latents) <= 1e-5
    assert parity.error(sliced.decode(latents), plain.decode(latents)) <= 1e-5


def test_tiling_is_switched_on(folder: Path) -> None:
    assert opened(folder, tiling=True).pipe.vae.use_tiling


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_denoiser_gives_the_same(folder: Path) -> None:
    plain, compiled = opened(folder), opened(folder, compile="eager")
    assert compiled.denoiser._compiled_call_impl is not None
    assert compiled.denoiser.state_dict().keys() == plain.denoiser.state_dict().keys()
    assert parity.error(sample(compiled), sample(plain)) <= 1e-5


def save_lora(folder: Path, where: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A random LoRA of the U-Net's attention in diffusers' layout, and its low-rank updates by module."""
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    with tiny.quiet():
        pipe = tiny.stable_diffusion()
        pipe.unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"]))
        tiny.seeded(11)
        state = get_peft_model_state_dict(pipe.unet)
        state = {name: torch.randn_like(value) * 0.3 for name, value in state.items()}
        StableDiffusionPipeline.save_lora_weights(where, unet_lora_layers=state, safe_serialization=True)
    parts = {name.partition(".lora_")[0] for name in state}
    update = {part: state[f"{part}.lora_B.weight"] @ state[f"{part}.lora_A.weight"] for part in parts}
    return where / "pytorch_lora_weights.safetensors", update


def test_lora_is_added_to_the_weights(folder: Path, tmp_path: Path) -> None:
    file, update = save_lora(folder, tmp_path)
    assert update
    plain = opened(folder)
    merged = opened(folder, lora=str(file), lora_scale=0.5)
    assert merged.denoiser.state_dict().keys() == plain.denoiser.state_dict().keys()
    before, after = plain.denoiser.state_dict(), merged.denoiser.state_dict()
    for name, value in before.items():
        change = update.get(name.removesuffix(".weight"), torch.zeros(()))
        torch.testing.assert_close(after[name], value + 0.5 * change)
    assert parity.error(sample(merged), sample(plain)) > 1e-3
    assert parity.compare(merged, PROMPTS, 4) <= parity.TOLERANCE


def test_lora_of_another_network_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"unet.nothing.lora_A.weight": torch.ones(1, 1)}, tmp_path / "x.safetensors")
    with pytest.raises(AssetError, match="does not fit StableDiffusionPipeline"):
        opened(folder, lora=str(tmp_path / "x.safetensors"))


def test_pixel_pipelines_are_saved_and_loaded(tmp_path: Path) -> None:
    pipeline = opened(tiny.save(tiny.pixel_text(), tmp_path / "pixel"))
    assert type(pipeline.pipe).__name__ == "PixelTextPipeline"
    assert sample(pipeline).shape == (2, 3, 8, 8)


def test_a_variant_in_several_files_is_one(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    weights = copy / "text_encoder" / "model.safetensors"
    for part in (1, 2):
        shutil.copy(weights, weights.with_name(f"model.fp16-{part:05}-of-00002.safetensors"))
    assert locate(str(copy), "fp16").folder == copy
    (copy / "text_encoder" / "model.fp16-00001-of-00002.safetensors").unlink()
    with pytest.raises(AssetError, match="does not have all 2 parts of its weights"):
        locate(str(copy), "fp16")


def test_a_safety_checker_is_not_missed(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    index = copy / "model_index.json"
    checker = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index.write_text(json.dumps({**json.loads(index.read_text()), "safety_checker": checker}))
    assert opened(copy).pipe.safety_checker is None


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model", "text_encoder/model", "vae/diffusion_pytorch_model"])
def test_damaged_weights_are_one_sentence(folder: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    weights = copy / f"{name}.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(AssetError, match="cannot be loaded") as caught:
        opened(copy)
    assert "\n" not in str(caught.value)
