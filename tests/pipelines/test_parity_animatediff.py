"""AnimateDiff: our latents and clips are the pipeline's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import UsageError
from bench.pipelines.base import Settings
from bench.pipelines.families.animatediff import AnimateDiff

sys.path.insert(0, str(Path(__file__).parent))
import parity
import tiny
import tiny_transformers

PROMPTS = ("a red square", "two blue dogs, running")

FRAMES = 3


def teacher(guidance: float | None = None, **settings: Any) -> AnimateDiff:
    chosen = {"guidance_scale": guidance, "frames": FRAMES, **settings}
    return AnimateDiff(tiny_transformers.animatediff(), Settings(**chosen))


def compare(pipeline: AnimateDiff, steps: int, solver: str = "ddim", **options: Any) -> float:
    return parity.compare(pipeline, PROMPTS, steps, solver, num_frames=FRAMES, **options)


@pytest.mark.parametrize("guidance", [1.0, 7.5])
@pytest.mark.parametrize("steps", [1, 10])
def test_latents_equal_those_of_ddim(steps: int, guidance: float) -> None:
    assert compare(teacher(guidance), steps) <= parity.TOLERANCE


@pytest.mark.parametrize("guidance", [1.0, 7.5])
@pytest.mark.parametrize("steps", [1, 10])
def test_latents_equal_those_of_euler(steps: int, guidance: float) -> None:
    """The scheduler of AnimateDiff-Lightning's card."""
    from diffusers import EulerDiscreteScheduler

    pipeline = teacher(guidance)
    pipeline.pipe.scheduler = EulerDiscreteScheduler(beta_schedule="linear", timestep_spacing="trailing")
    assert compare(pipeline, steps) <= parity.TOLERANCE


def test_negative_prompts_and_sizes_are_the_pipelines_own() -> None:
    pipeline = teacher(5.0, negative_prompt="ugly", height=24, width=32)
    # 3 steps do not divide 1000, so that DDIM of diffusers steps to other times than it evaluates at
    assert compare(pipeline, 4, negative="ugly", height=24, width=32) <= parity.TOLERANCE


def test_frames_see_each_other() -> None:
    pipeline = teacher(1.0)
    with tiny.quiet(), torch.inference_mode():
        condition = pipeline.encode(["a"])
        x, time = parity.noise(pipeline, 1).normal(), torch.full((1,), 500.0)
        before = pipeline.predict(x, time, condition)
        x[:, :, 0] += 1.0
        assert not torch.allclose(pipeline.predict(x, time, condition)[:, :, 2], before[:, :, 2], atol=1e-4)


def test_features_of_the_last_full_pass_can_be_reused() -> None:
    pipeline = teacher(1.0)
    with tiny.quiet(), torch.inference_mode():
        condition = pipeline.encode(["a"])
        x, time = parity.noise(pipeline, 1).normal(), torch.full((1,), 500.0)
        expected = pipeline.predict(x, time, condition)
        memory: dict[str, Any] = {}
        for part in ("full", "encoder", "deep"):  # from the same input, reused features are the new ones
            found = pipeline.partial(x, time, condition, memory, part)  # type: ignore[arg-type]
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


def test_the_motion_adapter_limits_the_frames() -> None:
    assert teacher(frames=None).shape == (4, 16, 8, 8)
    with pytest.raises(UsageError, match="frames must be 1 to 32"):
        assert teacher(frames=33).shape
