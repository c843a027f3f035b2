"""FLUX.1: our packed latents and pictures are the pipeline's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import UsageError
from bench.pipelines.base import Settings
from bench.pipelines.families.flux import Flux

sys.path.insert(0, str(Path(__file__).parent))
import parity
import parity_flow as flow
import tiny_transformers

SIZE = {"height": 24, "width": 32}


def teacher(guidance: float | None = None, dev: bool = True, **scheduler: Any) -> Flux:
    return Flux(tiny_transformers.flux(dev, **scheduler), Settings(guidance_scale=guidance, **SIZE))


def compare(pipeline: Flux, steps: int, **options: Any) -> float:
    times = flow.times(steps)
    return flow.compare(pipeline, flow.grid_at(pipeline, times), sigmas=times, **SIZE, **options)


@pytest.mark.parametrize("guidance", [1.0, 3.5])
@pytest.mark.parametrize("steps", [1, 10])
def test_latents_equal_those_of_flow_match_euler(steps: int, guidance: float) -> None:
    assert compare(teacher(guidance), steps) <= parity.TOLERANCE


def test_the_guidance_is_told_to_the_network() -> None:
    pipeline = teacher(3.5)
    assert compare(pipeline, 2, guidance_scale=5.0) > 10 * parity.TOLERANCE


@pytest.mark.parametrize("steps", [1, 4])
def test_a_network_without_guidance_has_none(steps: int) -> None:
    pipeline = teacher(dev=False, shift=1.0)
    assert pipeline.scale == 1.0
    assert compare(pipeline, steps, guidance_scale=0.0) <= parity.TOLERANCE
    with pytest.raises(UsageError, match="distilled without guidance"):
        teacher(3.5, dev=False)


def test_the_dynamic_shift_goes_by_the_number_of_patches() -> None:
    pipeline = teacher()
    assert pipeline.tokens == 6 * 8 and pipeline.shape == (48, 16)
    mu = 0.5 + (1.15 - 0.5) * (48 - 256) / (4096 - 256)
    assert torch.tensor(mu).exp().item() == pytest.approx(pipeline.process.shift)  # type: ignore[attr-defined]


def test_decoded_pictures_equal_the_pipelines_own() -> None:
    pipeline = teacher()
    grid = flow.grid_at(pipeline, flow.times(2))
    assert flow.compare_pixels(pipeline, grid, sigmas=flow.times(2), **SIZE) <= 1e-5


def test_the_default_start_is_near_the_pipelines() -> None:
    assert flow.default_start(teacher(), 8, **SIZE) < 0.01


def test_the_pipelines_own_size_is_the_default() -> None:
    pipeline = Flux(tiny_transformers.flux(), Settings())
    side = pipeline.pipe.default_sample_size * pipeline.pipe.vae_scale_factor
    assert pipeline.pixels == (side, side)


def test_a_size_that_cannot_be_packed_is_refused() -> None:
    pipeline = Flux(tiny_transformers.flux(), Settings(height=30))
    with pytest.raises(UsageError, match="height must be a positive multiple of 4"):
        assert pipeline.shape
