"""CogVideoX 1.0 and 1.5: our latents and clips are the pipeline's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UsageError
from bench.pipelines.base import Settings
from bench.pipelines.families.cogvideox import CogVideoX
from bench.pipelines.schedule import SMALLEST_ALPHA_BAR

sys.path.insert(0, str(Path(__file__).parent))
import parity
import tiny
import tiny_transformers

PROMPTS = ("a red square", "two blue dogs, running")

FRAMES = 9
CALL = {"height": 32, "width": 48, "num_frames": FRAMES}


def teacher(guidance: float | None = None, height: int = 32, **options: Any) -> CogVideoX:
    settings = Settings(guidance_scale=guidance, height=height, width=48, frames=FRAMES)
    return CogVideoX(tiny_transformers.cogvideox(**options), settings)


def finite(pipeline: CogVideoX) -> CogVideoX:
    """The pipeline with our start in its own scheduler: alpha = 2**-12 where its own is 0."""
    pipeline.pipe.scheduler.alphas_cumprod[-1] = SMALLEST_ALPHA_BAR
    return pipeline


def compare(pipeline: CogVideoX, steps: int, **options: Any) -> float:
    return parity.compare(pipeline, PROMPTS, steps, **{**CALL, **options})


@pytest.mark.parametrize("guidance", [1.0, 6.0])
@pytest.mark.parametrize("steps", [1, 10])
@pytest.mark.parametrize("options", [{}, {"patch_size_t": 2}], ids=["1.0", "1.5"])
def test_latents_equal_those_of_its_own_ddim(options: dict[str, Any], steps: int, guidance: float) -> None:
    assert compare(finite(teacher(guidance, **options)), steps) <= parity.TOLERANCE


@pytest.mark.parametrize("steps", [1, 10])
def test_the_default_start_differs_by_the_last_alpha_only(steps: int) -> None:
    """The pipeline starts at alpha = 0, we at 2**-12: that share of the noise is all that differs at first."""
    assert parity.TOLERANCE < compare(teacher(1.0), steps) <= 8 * SMALLEST_ALPHA_BAR**0.5


def test_the_shift_of_the_2b_model_is_in_the_process() -> None:
    from diffusers import CogVideoXDDIMScheduler

    pipeline = teacher(6.0)
    config = {**pipeline.pipe.scheduler.config, "snr_shift_scale": 3.0}
    pipeline.pipe.scheduler = CogVideoXDDIMScheduler.from_config(config)
    assert compare(finite(pipeline), 4) <= parity.TOLERANCE


def test_latents_of_a_network_without_rotary_embeddings() -> None:
    assert compare(finite(teacher(6.0, use_rotary_positional_embeddings=False)), 4) <= parity.TOLERANCE


@pytest.mark.parametrize("options", [{}, {"patch_size_t": 2}], ids=["1.0", "1.5"])
def test_decoded_clips_equal_the_pipelines_own(options: dict[str, Any]) -> None:
    """Of 1.5 the padding, one latent frame here, is cut."""
    pipeline = finite(teacher(**options))
    assert pipeline.frames == (3, 1 if options else 0)
    with tiny.quiet():
        grid, eps = parity.grid_of(pipeline, 2), parity.noise(pipeline).normal()
        latents = parity.call(pipeline, PROMPTS, eps, grid, **CALL)
        expected = parity.call(pipeline, PROMPTS, eps, grid, output_type="pt", **CALL)
    found = pipeline.decode(latents)
    assert found.shape == expected.shape == (2, FRAMES, 3, 32, 48)
    assert parity.error(found, expected) <= 1e-5


def test_sizes_are_the_networks_or_the_users() -> None:
    pipe = tiny_transformers.cogvideox()
    assert CogVideoX(pipe, Settings()).shape == (3, 4, 4, 6)
    with pytest.raises(UsageError, match="frames must be 1 plus a multiple of 4"):
        assert CogVideoX(pipe, Settings(frames=8)).shape
    with pytest.raises(UsageError, match="height must be a positive multiple of 16"):
        assert CogVideoX(pipe, Settings(height=24)).shape
    with pytest.raises(UsageError, match="at most 32x48"):
        assert teacher(patch_size_t=2, height=48).shape
