"""LTX-Video: our packed latents and clips are the pipeline's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import UsageError
from bench.pipelines.base import Settings
from bench.pipelines.families.ltx import LTX

sys.path.insert(0, str(Path(__file__).parent))
import parity
import parity_flow as flow
import tiny
import tiny_transformers

SIZE = {"height": 32, "width": 64}
FRAMES = 9
RELEASED = {  # of Lightricks/LTX-Video
    "use_dynamic_shifting": True,
    "base_shift": 0.95,
    "max_shift": 2.05,
    "base_image_seq_len": 1024,
    "shift_terminal": 0.1,
}


def teacher(guidance: float | None = None, rate: float | None = None, **scheduler: Any) -> LTX:
    settings = Settings(guidance_scale=guidance, frames=FRAMES, frame_rate=rate, **SIZE)
    return LTX(tiny_transformers.ltx(**scheduler), settings)


def compare(pipeline: LTX, steps: int, **options: Any) -> float:
    times = flow.times(steps)
    grid = flow.grid_at(pipeline, times)
    flow.given_times(pipeline.pipe, times)
    return flow.compare(pipeline, grid, num_frames=FRAMES, **SIZE, **options)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("steps", [1, 10])
@pytest.mark.parametrize("scheduler", [{"shift": 2.0}, {**RELEASED, "shift_terminal": None}], ids=["static", "dynamic"])
def test_latents_equal_those_of_flow_match_euler(scheduler: dict[str, Any], steps: int, guidance: float) -> None:
    assert compare(teacher(guidance, **scheduler), steps) <= parity.TOLERANCE


def test_the_stretched_grid_of_the_released_scheduler_is_a_grid_too() -> None:
    pipeline = teacher(**RELEASED)
    times = flow.times(6)
    flow.given_times(pipeline.pipe, times)
    with tiny.quiet():
        mu = torch.tensor(pipeline.process.shift).log().item()  # type: ignore[attr-defined]
        pipeline.pipe.scheduler.set_timesteps(6, mu=mu)
    share = pipeline.pipe.scheduler.sigmas.to(torch.float64)
    grid = flow.Grid(share / (1 - share), pipeline.process)
    assert float(share[-2]) == pytest.approx(0.1)
    assert flow.compare(pipeline, grid, num_frames=FRAMES, **SIZE) <= parity.TOLERANCE


def test_the_frame_rate_is_told_to_the_network() -> None:
    pipeline = teacher(rate=8.0)
    assert compare(pipeline, 2, frame_rate=8) <= parity.TOLERANCE
    assert compare(pipeline, 2) > 2 * parity.TOLERANCE


@pytest.mark.parametrize("told", [False, True])
def test_decoded_clips_equal_the_pipelines_own(told: bool) -> None:
    """Also where the decoder is told a time of denoising, 0 by default."""
    pipeline = teacher()
    if told:
        pipeline.pipe.vae = tiny_transformers.ltx_vae(timestep_conditioning=True)
    grid = flow.grid_at(pipeline, flow.times(2))
    flow.given_times(pipeline.pipe, flow.times(2))
    assert flow.compare_pixels(pipeline, grid, num_frames=FRAMES, **SIZE) <= 1e-5


def test_the_default_start_is_near_the_pipelines() -> None:
    assert flow.default_start(teacher(), 8, num_frames=FRAMES, **SIZE) < 0.01


def test_sizes_are_the_pipelines_or_the_users() -> None:
    pipe = tiny_transformers.ltx()
    assert LTX(pipe, Settings(frames=FRAMES, **SIZE)).shape == (3 * 8 * 16, 8)
    assert LTX(pipe, Settings()).grid == (41, 128, 176)
    with pytest.raises(UsageError, match="frames must be 1 plus a multiple of 4"):
        assert LTX(pipe, Settings(frames=8)).shape
