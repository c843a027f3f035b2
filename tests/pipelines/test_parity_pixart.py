"""PixArt-alpha and -Sigma: our latents and pictures are the pipeline's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import UsageError
from bench.pipelines.base import Settings
from bench.pipelines.families.pixart import PixArt

sys.path.insert(0, str(Path(__file__).parent))
import parity
import tiny
import tiny_transformers

PROMPTS = ("a red square", "two blue dogs, running")

SIZE = {"height": 24, "width": 32}
CALL = {**SIZE, "use_resolution_binning": False}


def ddim() -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(beta_start=0.0001, beta_end=0.02, clip_sample=False, timestep_spacing="trailing")


def teacher(guidance: float | None = None, scheduler: Any = None, **options: Any) -> PixArt:
    pipe = tiny_transformers.pixart(**options)
    pipe.scheduler = scheduler or pipe.scheduler
    return PixArt(pipe, Settings(guidance_scale=guidance, **SIZE))


def compare(pipeline: PixArt, steps: int, solver: str = "ddim", **options: Any) -> float:
    return parity.compare(pipeline, PROMPTS, steps, solver, **CALL, **options)


@pytest.mark.parametrize("guidance", [1.0, 4.5])
@pytest.mark.parametrize("steps", [2, 10])
@pytest.mark.parametrize("sample_size", [64, 128], ids=["plain", "told the size"])
def test_latents_equal_those_of_its_own_dpm_solver(sample_size: int, steps: int, guidance: float) -> None:
    pipeline = teacher(guidance, sample_size=sample_size)
    assert compare(pipeline, steps, "dpm_solver_pp") <= parity.TOLERANCE


@pytest.mark.parametrize("guidance", [1.0, 4.5])
@pytest.mark.parametrize("steps", [1, 10])
def test_latents_equal_those_of_ddim(steps: int, guidance: float) -> None:
    assert compare(teacher(guidance, ddim()), steps) <= parity.TOLERANCE


def test_latents_of_pixart_sigma_equal_the_pipelines_own() -> None:
    """Longer prompts, and no conditions of size."""
    from diffusers import PixArtSigmaPipeline

    parts = tiny_transformers.pixart(sample_size=64).components
    with tiny.quiet():
        pipe = PixArtSigmaPipeline(**parts)
    pipe.set_progress_bar_config(disable=True)
    pipeline = PixArt(pipe, Settings(**SIZE))
    assert pipeline.encode(["a"])["text"].shape[1] == 300
    assert compare(pipeline, 4, "dpm_solver_pp") <= parity.TOLERANCE


def test_resolution_and_aspect_ratio_matter() -> None:
    pipeline = teacher(1.0)
    with tiny.quiet(), torch.inference_mode():
        condition = pipeline.encode(["a"])
        x, time = parity.noise(pipeline, 1).normal(), torch.full((1,), 500.0)
        wide = pipeline.predict(x, time, condition)
        pipeline.settings = Settings(height=32, width=24)
        assert not torch.allclose(pipeline.predict(x, time, condition), wide, atol=1e-4)


def test_negative_prompts_are_cleaned_as_prompts_are() -> None:
    pipeline = teacher()
    pipeline.settings = Settings(negative_prompt="UGLY &amp; red", **SIZE)
    negative = "UGLY &amp; red"
    with tiny.quiet():
        assert torch.equal(pipeline.encode([negative])["text"], pipeline.encode(["ugly & red"])["text"])
        eps = parity.noise(pipeline).normal()
        grid = parity.grid_of(pipeline, 3)
        found = parity.ours(pipeline, PROMPTS, eps, grid, "dpm_solver_pp")
        expected = parity.call(pipeline, PROMPTS, eps, grid, negative_prompt=negative, **CALL)
    assert parity.error(found, expected) <= parity.TOLERANCE


def test_decoded_pictures_equal_the_pipelines_own() -> None:
    pipeline = teacher()
    with tiny.quiet():
        grid, eps = parity.grid_of(pipeline, 2), parity.noise(pipeline).normal()
        latents = parity.call(pipeline, PROMPTS, eps, grid, **CALL)
        expected = parity.call(pipeline, PROMPTS, eps, grid, output_type="pt", **CALL)
    assert parity.error(pipeline.decode(latents), expected) <= 1e-5


def test_sizes_are_the_networks_or_the_users() -> None:
    pipe = tiny_transformers.pixart(sample_size=32)
    assert PixArt(pipe, Settings()).shape == (4, 32, 32)
    with pytest.raises(UsageError, match="width must be a positive multiple of 8"):
        assert PixArt(pipe, Settings(width=20)).shape


def test_a_missing_cleaner_of_prompts_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.pipelines import transformer

    monkeypatch.setattr(transformer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install"):
        teacher().encode(["a"])
