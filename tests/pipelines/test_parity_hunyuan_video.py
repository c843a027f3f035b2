"""HunyuanVideo: our latents and clips are the pipeline's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import UsageError
from bench.pipelines.base import Settings
from bench.pipelines.families.hunyuan_video import HunyuanVideo

sys.path.insert(0, str(Path(__file__).parent))
import parity
import parity_flow as flow
import tiny
import tiny_transformers

SIZE = {"height": 32, "width": 48}
FRAMES = 5


def template() -> str:
    from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE

    return str(DEFAULT_PROMPT_TEMPLATE["template"])


def teacher(guidance: float | None = None, **options: Any) -> HunyuanVideo:
    settings = Settings(guidance_scale=guidance, frames=FRAMES, **{**SIZE, **options})
    return HunyuanVideo(tiny_transformers.hunyuan_video((template(), *flow.PROMPTS)), settings)


def compare(pipeline: HunyuanVideo, steps: int, **options: Any) -> float:
    times = flow.times(steps)
    return flow.compare(pipeline, flow.grid_at(pipeline, times), sigmas=times, num_frames=FRAMES, **SIZE, **options)


@pytest.mark.parametrize("guidance", [1.0, 6.0])
@pytest.mark.parametrize("steps", [1, 10])
def test_latents_equal_those_of_flow_match_euler(steps: int, guidance: float) -> None:
    assert compare(teacher(guidance), steps) <= parity.TOLERANCE


def test_the_guidance_is_told_to_the_network() -> None:
    assert compare(teacher(6.0), 2, guidance_scale=1.0) > 10 * parity.TOLERANCE


def test_prompts_come_through_the_template() -> None:
    pipeline = teacher()
    with tiny.quiet():
        found = pipeline.encode(flow.PROMPTS)
    assert found["text"].shape[1] == found["mask"].shape[1] == 256
    assert not torch.allclose(found["text"][0], found["text"][1], atol=1e-3)


def test_decoded_clips_equal_the_pipelines_own() -> None:
    pipeline = teacher()
    grid = flow.grid_at(pipeline, flow.times(2))
    assert flow.compare_pixels(pipeline, grid, sigmas=flow.times(2), num_frames=FRAMES, **SIZE) <= 1e-5


def test_the_default_start_is_near_the_pipelines() -> None:
    assert flow.default_start(teacher(), 8, num_frames=FRAMES, **SIZE) < 0.01


def test_sizes_are_the_pipelines_or_the_users() -> None:
    assert HunyuanVideo(teacher().pipe, Settings()).shape == (4, 33, 90, 160)
    with pytest.raises(UsageError, match="height must be a positive multiple of 16"):
        assert teacher(height=40).shape
