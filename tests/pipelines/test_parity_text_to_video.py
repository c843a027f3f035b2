"""ModelScope's text-to-video: our latents and clips are the pipeline's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import UsageError
from bench.pipelines.base import Settings
from bench.pipelines.families.text_to_video import TextToVideo

sys.path.insert(0, str(Path(__file__).parent))
import parity
import tiny
import tiny_transformers

PROMPTS = ("a red square", "two blue dogs, running")
FRAMES = 3


def teacher(guidance: float | None = None, frames: int | None = FRAMES) -> TextToVideo:
    return TextToVideo(tiny_transformers.text_to_video(), Settings(guidance_scale=guidance, frames=frames))


@pytest.mark.parametrize("guidance", [1.0, 9.0])
@pytest.mark.parametrize("steps", [1, 10])
def test_latents_equal_those_of_ddim(steps: int, guidance: float) -> None:
    assert parity.compare(teacher(guidance), PROMPTS, steps, num_frames=FRAMES) <= parity.TOLERANCE


def test_features_of_the_last_full_pass_can_be_reused() -> None:
    pipeline = teacher(1.0)
    with tiny.quiet(), torch.inference_mode():
        condition = pipeline.encode(["a"])
        x, time = parity.noise(pipeline, 1).normal(), torch.full((1,), 500.0)
        expected = pipeline.predict(x, time, condition)
        memory: dict[str, Any] = {}
        for part in ("full", "encoder", "deep"):  # from the same input, reused features are the new ones
            found = pipeline.partial(x, time, condition, memory, part)
            assert torch.allclose(found, expected, atol=1e-6)


def test_decoded_clips_equal_the_pipelines_own() -> None:
    pipeline = teacher()
    with tiny.quiet():
        grid, eps = parity.grid_of(pipeline, 2), parity.noise(pipeline).normal()
        latents = parity.call(pipeline, PROMPTS, eps, grid, num_frames=FRAMES)
        expected = parity.call(pipeline, PROMPTS, eps, grid, output_type="pt", num_frames=FRAMES)
    found = pipeline.decode(latents)
    assert found.shape == expected.shape == (2, FRAMES, 3, 16, 16)
    assert parity.error(found, expected) <= 1e-5


def test_frames_are_the_users() -> None:
    assert teacher(frames=None).shape == (4, 16, 8, 8)
    with pytest.raises(UsageError, match="frames must be 1 or more"):
        assert teacher(frames=0).shape
