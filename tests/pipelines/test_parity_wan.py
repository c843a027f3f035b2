"""Wan 2.1 and 2.2: our latents and clips are the pipeline's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import UsageError
from bench.pipelines.base import Settings
from bench.pipelines.families.wan import Wan

sys.path.insert(0, str(Path(__file__).parent))
import parity
import parity_flow as flow
import tiny
import tiny_transformers

SIZE = {"height": 32, "width": 48}
FRAMES = 5


def unipc() -> Any:
    from diffusers import UniPCMultistepScheduler

    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)


def teacher(guidance: float | None = None, scheduler: Any = None, **options: Any) -> Wan:
    settings = Settings(guidance_scale=guidance, frames=FRAMES, **SIZE)
    return Wan(tiny_transformers.wan(scheduler, **options), settings)


def compare(pipeline: Wan, steps: int, **options: Any) -> float:
    times = flow.times(steps)
    grid = flow.grid_at(pipeline, times)
    flow.given_times(pipeline.pipe, times)
    return flow.compare(pipeline, grid, num_frames=FRAMES, **SIZE, **options)


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("steps", [1, 10])
def test_latents_equal_those_of_flow_match_euler(steps: int, guidance: float) -> None:
    assert compare(teacher(guidance), steps) <= parity.TOLERANCE


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("steps", [1, 6])
def test_latents_equal_those_of_its_own_unipc(steps: int, guidance: float) -> None:
    """Which starts a millionth below t = 1 by itself, and tells the network whole thousandths."""
    pipeline = teacher(guidance, unipc())
    grid = flow.solver_grid(pipeline, steps)
    found = flow.compare(pipeline, grid, "unipc[lower_final=always]", num_frames=FRAMES, **SIZE)
    assert found <= parity.TOLERANCE


@pytest.mark.parametrize("steps", [1, 6])
def test_two_networks_share_the_noise_levels_of_wan_22(steps: int) -> None:
    pipeline = teacher(4.0, stages=2, boundary_ratio=0.875)
    assert compare(pipeline, steps) <= parity.TOLERANCE
    pipeline.pipe.register_to_config(boundary_ratio=0.001)
    assert (compare(pipeline, steps) <= parity.TOLERANCE) and pipeline.pipe.transformer_2 is not None


def test_a_batch_may_hold_both_sides_of_the_boundary() -> None:
    pipeline = teacher(stages=2, boundary_ratio=0.5)
    with tiny.quiet(), torch.inference_mode():
        condition = pipeline.encode(["a", "b"])
        x = parity.noise(pipeline).normal()
        sigma = torch.tensor([20.0, 0.1], dtype=torch.float64)
        both = pipeline.denoise(x, sigma, condition)
        for i in range(2):
            alone = pipeline.denoise(x[i : i + 1], sigma[i : i + 1], {"text": condition["text"][i : i + 1]})
            assert parity.error(both[i : i + 1], alone) <= parity.TOLERANCE


def test_every_token_is_told_the_time_where_the_pipeline_does_so() -> None:
    assert compare(teacher(5.0, expand_timesteps=True), 3) <= parity.TOLERANCE


def test_negative_prompts_are_the_pipelines_own() -> None:
    pipe = tiny_transformers.wan()
    pipeline = Wan(pipe, Settings(negative_prompt="ugly", frames=FRAMES, **SIZE))
    assert compare(pipeline, 3, negative_prompt=["ugly"] * len(flow.PROMPTS)) <= parity.TOLERANCE


def test_decoded_clips_equal_the_pipelines_own() -> None:
    pipeline = teacher()
    grid = flow.grid_at(pipeline, flow.times(2))
    flow.given_times(pipeline.pipe, flow.times(2))
    assert flow.compare_pixels(pipeline, grid, num_frames=FRAMES, **SIZE) <= 1e-5


def test_the_default_start_is_near_the_pipelines() -> None:
    assert flow.default_start(teacher(), 8, num_frames=FRAMES, **SIZE) < 0.02


def test_sizes_are_the_pipelines_or_the_users() -> None:
    pipe = tiny_transformers.wan()
    assert Wan(pipe, Settings()).shape == (16, 21, 60, 104)
    with pytest.raises(UsageError, match="frames must be 1 plus a multiple of 4"):
        assert Wan(pipe, Settings(frames=6)).shape
    with pytest.raises(UsageError, match="height must be a positive multiple of 16"):
        assert Wan(pipe, Settings(height=40)).shape
