"""SDXL: two encoders, pooled text and size, zeros for no negative prompt; our latents are the pipeline's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.pipelines.base import Settings
from bench.pipelines.families.stable_diffusion_xl import StableDiffusionXL

sys.path.insert(0, str(Path(__file__).parent))
import parity
import tiny

PROMPTS = ["a cat", "two dogs"]
EULER = {"name": "EulerDiscreteScheduler"}


def pipeline(guidance: float | None, negative: str | None = None, **options: Any) -> StableDiffusionXL:
    return StableDiffusionXL(
        tiny.stable_diffusion_xl(**options), Settings(guidance_scale=guidance, negative_prompt=negative)
    )


@pytest.mark.parametrize("guidance", [1.0, None])
@pytest.mark.parametrize("steps", [1, 10])
@pytest.mark.parametrize("options", [{}, EULER], ids=["ddim", "euler"])
def test_latents_equal_the_pipelines(options: dict[str, Any], steps: int, guidance: float | None) -> None:
    assert parity.compare(pipeline(guidance, **options), PROMPTS, steps) <= parity.TOLERANCE


@pytest.mark.parametrize("negative", ["ugly", ""])
def test_a_negative_prompt_is_encoded_and_none_is_zeros(negative: str) -> None:
    assert parity.compare(pipeline(5.0, negative), PROMPTS, 4, negative=negative) <= parity.TOLERANCE
    assert not pipeline(5.0).encode_null()["text"].any()
    assert pipeline(5.0, negative).encode_null()["text"].any()


def test_sizes_are_told_to_the_network() -> None:
    found = StableDiffusionXL(tiny.stable_diffusion_xl(), Settings(height=24, width=32))
    assert found.encode(["a"])["size"].tolist() == [[24, 32, 0, 0, 24, 32]]
    assert parity.compare(found, PROMPTS, 2, height=24, width=32) <= parity.TOLERANCE


@pytest.mark.parametrize("normalised", [False, True])
def test_decoded_pictures_equal_the_pipelines_own(normalised: bool) -> None:
    found = pipeline(3.0)
    if normalised:
        found.pipe.vae.register_to_config(latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.1, 0.9, 2.0, 1.0])
    grid = parity.grid_of(found, 2)
    eps = parity.noise(found).normal()
    with tiny.quiet():
        expected = parity.call(found, PROMPTS, eps, grid, output_type="pt")
    assert parity.error(found.decode(parity.ours(found, PROMPTS, eps, grid)), expected) <= parity.TOLERANCE


def test_the_decoder_runs_in_float32_where_half_overflows() -> None:
    found = pipeline(3.0)
    found.pipe.vae.to(torch.float16)
    kinds = []
    decode = found.pipe.vae.decode
    found.pipe.vae.decode = lambda latents, **options: (kinds.append(latents.dtype), decode(latents, **options))[1]
    assert found.decode(torch.zeros(1, 4, 8, 8)).dtype == torch.float32
    assert kinds == [torch.float32] and found.pipe.vae.dtype == torch.float16
