"""SANA: our latents and pictures are the pipeline's own."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import UsageError
from bench.pipelines.base import Settings
from bench.pipelines.conditions import Table
from bench.pipelines.families.sana import Sana, SanaSprint

sys.path.insert(0, str(Path(__file__).parent))
import parity
import parity_flow as flow
import tiny
import tiny_transformers

SIZE = {"height": 32, "width": 32}
CALL = {**SIZE, "use_resolution_binning": False}


def dpm_solver() -> Any:
    from diffusers import DPMSolverMultistepScheduler

    return DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)


def teacher(guidance: float | None = None, scheduler: Any = None, **settings: Any) -> Sana:
    pipe = tiny_transformers.sana(scheduler)
    return Sana(pipe, Settings(guidance_scale=guidance, **SIZE, **settings))


def compare(pipeline: Sana, steps: int, **options: Any) -> float:
    times = flow.times(steps)
    return flow.compare(pipeline, flow.grid_at(pipeline, times), sigmas=times, **CALL, **options)


@pytest.mark.parametrize("guidance", [1.0, 4.5])
@pytest.mark.parametrize("steps", [1, 10])
def test_latents_equal_those_of_flow_match_euler(steps: int, guidance: float) -> None:
    assert compare(teacher(guidance), steps) <= parity.TOLERANCE


@pytest.mark.parametrize("guidance", [1.0, 4.5])
@pytest.mark.parametrize("angles", [[1.57], [1.57, 1.3], [1.5, 1.0, 0.5]], ids=["1", "2", "3"])
def test_latents_equal_those_of_sana_sprint(angles: list[float], guidance: float) -> None:
    """Each step: to x0, then noise anew, which is the pipeline's own draw here."""
    pipeline = SanaSprint(tiny_transformers.sana(sprint=True), Settings(guidance_scale=guidance, **SIZE))
    eps = parity.noise(pipeline).normal()
    levels = [math.tan(angle) for angle in angles]
    table = Table(pipeline, flow.PROMPTS)
    draws = torch.Generator().manual_seed(7)
    with tiny.quiet(), torch.inference_mode():
        expected = pipeline.pipe(
            list(flow.PROMPTS),
            latents=eps * math.sin(angles[0]),
            num_inference_steps=len(angles),
            max_timesteps=angles[0],  # then evenly to 0, but for two steps
            intermediate_timesteps=angles[1] if len(angles) == 2 else None,
            generator=torch.Generator().manual_seed(7),
            guidance_scale=guidance,
            output_type="latent",
            **CALL,
        )[0]
        x = levels[0] * eps
        for here, after in itertools.zip_longest(levels, levels[1:]):
            found = pipeline.denoise(x, here, table.rows(torch.arange(2)))
            x = found if after is None else found + after * torch.randn(eps.shape, generator=draws)
    assert pipeline.guidance == "embedded"
    assert parity.error(x, expected) <= parity.TOLERANCE


@pytest.mark.parametrize("guidance", [1.0, 4.5])
@pytest.mark.parametrize("steps", [1, 7])
def test_latents_equal_those_of_its_own_dpm_solver(steps: int, guidance: float) -> None:
    """Which starts below t = 1 by itself, and tells the network whole thousandths."""
    pipeline = teacher(guidance, dpm_solver())
    grid = flow.solver_grid(pipeline, steps)
    assert flow.compare(pipeline, grid, "dpm_solver_pp", **CALL) <= parity.TOLERANCE


def test_the_instruction_goes_before_prompts_but_not_before_the_negative_one() -> None:
    pipeline = teacher(4.5, negative_prompt="ugly")
    negative = ["ugly"] * len(flow.PROMPTS)
    assert compare(pipeline, 2, negative_prompt=negative) <= parity.TOLERANCE
    assert compare(pipeline, 2, negative_prompt=negative, complex_human_instruction=None) > 10 * parity.TOLERANCE
    assert compare(pipeline, 2) > 10 * parity.TOLERANCE
    with tiny.quiet():
        assert not torch.equal(pipeline.encode(["ugly"])["text"], pipeline.encode_null()["text"])


def test_decoded_pictures_equal_the_pipelines_own() -> None:
    pipeline = teacher()
    grid = flow.grid_at(pipeline, flow.times(2))
    assert flow.compare_pixels(pipeline, grid, sigmas=flow.times(2), **CALL) <= 1e-5


def test_the_default_start_is_near_the_pipelines() -> None:
    assert flow.default_start(teacher(), 8, **CALL) < 0.01


def test_sizes_are_the_networks_or_the_users() -> None:
    pipe = tiny_transformers.sana()
    assert Sana(pipe, Settings()).shape == (4, 32, 32)
    with pytest.raises(UsageError, match="width must be a positive multiple of 32"):
        assert Sana(pipe, Settings(width=48)).shape
