"""Stable Diffusion 3: our latents and pictures are the pipeline's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import UsageError
from bench.pipelines.base import Settings
from bench.pipelines.families.stable_diffusion_3 import StableDiffusion3

sys.path.insert(0, str(Path(__file__).parent))
import parity
import parity_flow as flow
import tiny
import tiny_transformers

DYNAMIC = {"use_dynamic_shifting": True, "base_shift": 0.7, "max_shift": 1.16, "base_image_seq_len": 8}


def teacher(guidance: float | None = None, size: int | None = None, **scheduler: Any) -> StableDiffusion3:
    settings = Settings(guidance_scale=guidance, height=size, width=size, negative_prompt=None)
    return StableDiffusion3(tiny_transformers.stable_diffusion_3(**scheduler), settings)


def compare(pipeline: StableDiffusion3, steps: int, **options: Any) -> float:
    times = flow.times(steps)
    return flow.compare(pipeline, flow.grid_at(pipeline, times), sigmas=times, **options)


@pytest.mark.parametrize("guidance", [1.0, 7.0])
@pytest.mark.parametrize("steps", [1, 10])
@pytest.mark.parametrize("scheduler", [{}, DYNAMIC], ids=["static shift", "dynamic shift"])
def test_latents_equal_those_of_flow_match_euler(scheduler: dict[str, Any], steps: int, guidance: float) -> None:
    assert compare(teacher(guidance, **scheduler), steps) <= parity.TOLERANCE


def test_the_dynamic_shift_goes_by_the_size() -> None:
    small, large = teacher(**DYNAMIC), teacher(size=24, **DYNAMIC)
    assert small.process != large.process
    assert compare(large, 3, height=24, width=24) <= parity.TOLERANCE


def test_negative_prompts_and_lengths_are_the_pipelines_own() -> None:
    pipeline = StableDiffusion3(
        tiny_transformers.stable_diffusion_3(), Settings(negative_prompt="ugly", max_sequence_length=40)
    )
    negative = ["ugly"] * len(flow.PROMPTS)
    assert compare(pipeline, 3, negative_prompt=negative, max_sequence_length=40) <= parity.TOLERANCE
    assert compare(pipeline, 3, max_sequence_length=40) > 10 * parity.TOLERANCE


def test_a_folder_may_lack_t5() -> None:
    pipeline = teacher()
    pipeline.pipe.text_encoder_3 = None
    assert compare(pipeline, 2) <= parity.TOLERANCE


def test_decoded_pictures_equal_the_pipelines_own() -> None:
    pipeline = teacher()
    assert flow.compare_pixels(pipeline, flow.grid_at(pipeline, flow.times(2)), sigmas=flow.times(2)) <= 1e-5


def test_the_default_start_is_near_the_pipelines() -> None:
    """0.1 % below t = 1."""
    assert flow.default_start(teacher(), 8) < 0.01


def test_a_size_that_cannot_be_patched_is_refused() -> None:
    with pytest.raises(UsageError, match="height must be a positive multiple of 4"):
        assert teacher(size=18).shape


def test_a_saved_pipeline_is_the_same_teacher(tmp_path: Path) -> None:
    pipeline = teacher()
    with tiny.quiet():
        pipeline.pipe.save_pretrained(tmp_path)
        again = StableDiffusion3(type(pipeline.pipe).from_pretrained(tmp_path), Settings())
        found, expected = again.encode(["a"]), pipeline.encode(["a"])
    assert all(torch.equal(found[name], expected[name]) for name in expected)
