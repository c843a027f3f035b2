"""Class-conditional pipelines, DiT and consistency models: our samples are the pipelines' own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from bench.errors import UsageError
from bench.pipelines.base import Settings
from bench.pipelines.families.consistency import ConsistencyModel
from bench.pipelines.families.dit import DiT

sys.path.insert(0, str(Path(__file__).parent))
import parity
import tiny


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("steps", [1, 10])
def test_dit(steps: int, guidance: float) -> None:
    pipe = tiny.dit()
    pipeline = DiT(pipe, Settings(guidance_scale=guidance))
    pipe.set_progress_bar_config(disable=True)
    latents = []
    decode = pipe.vae.decode
    pipe.vae.decode = lambda z, **options: (latents.append(z), decode(z, **options))[1]
    grid = parity.grid_of(pipeline, steps)
    first = torch.randn((2, *pipeline.shape), generator=torch.Generator().manual_seed(3))
    eps = first / parity.start(pipeline, torch.ones(()), grid)
    with tiny.quiet():
        pictures = pipe(
            class_labels=[3, 999],
            guidance_scale=guidance,
            generator=torch.Generator().manual_seed(3),
            num_inference_steps=steps,
            output_type="pt",
        ).images
    found = parity.ours(pipeline, ["3", "class 999"], eps, grid)
    assert parity.error(found / pipe.vae.config.scaling_factor, latents[0]) <= parity.TOLERANCE
    assert parity.error(pipeline.decode(found), pictures) <= parity.TOLERANCE


def test_classes_of_dit() -> None:
    pipeline = DiT(tiny.dit(), Settings())
    assert pipeline.default_prompts() == tuple(map(str, range(1000)))
    assert pipeline.encode(["7", "also known as 8th"])["class"].tolist() == [7, 8]
    assert pipeline.encode_null()["class"].tolist() == [1000]
    for wrong in ("1000", "-1", "cat"):
        with pytest.raises(UsageError, match="no class of this pipeline"):
            pipeline.encode([wrong])


@pytest.mark.parametrize("classes", [10, None])
def test_consistency_models_in_one_call(classes: int | None) -> None:
    pipe = tiny.consistency(classes)
    pipeline = ConsistencyModel(pipe, Settings())
    pipe.set_progress_bar_config(disable=True)
    eps = parity.noise(pipeline).normal()
    with tiny.quiet():
        expected = pipe(
            batch_size=2,
            class_labels=[4, 7] if classes else None,
            num_inference_steps=1,
            latents=eps,
            output_type="pt",
        ).images
    condition = pipeline.encode(["4", "7"])
    with torch.inference_mode():
        found = pipeline.denoise(pipeline.schedule.sigma_max * eps, pipeline.schedule.sigma_max, condition)
    assert parity.error(pipeline.decode(found), expected) <= parity.TOLERANCE
    assert pipeline.default_prompts() == (tuple(map(str, range(10))) if classes else ("",))


def test_consistency_models_in_several_calls() -> None:
    """Algorithm 1 of arXiv 2303.01469: denoise, add noise up to the next level, and so on."""
    pipe = tiny.consistency()
    pipeline = ConsistencyModel(pipe, Settings())
    pipe.set_progress_bar_config(disable=True)
    eps = parity.noise(pipeline).normal()
    with tiny.quiet():
        expected = pipe(
            batch_size=2,
            class_labels=[4, 7],
            num_inference_steps=None,
            timesteps=[39, 22, 0],
            latents=eps,
            generator=torch.Generator().manual_seed(5),
            output_type="pt",
        ).images
    pipe.scheduler.set_timesteps(timesteps=[39, 22, 0])
    levels = pipe.scheduler.sigmas.tolist()
    generator, condition = torch.Generator().manual_seed(5), pipeline.encode(["4", "7"])
    x, lowest = levels[0] * eps, pipeline.schedule.sigma_min
    with torch.inference_mode():
        for here, following in zip(levels[:3], [*levels[1:3], lowest], strict=True):
            x = pipeline.denoise(x, here, condition)
            x = x + (following**2 - lowest**2) ** 0.5 * torch.randn(x.shape, generator=generator)
    assert parity.error(pipeline.decode(x), expected) <= parity.TOLERANCE


def test_a_consistency_model_is_the_identity_at_the_lowest_level() -> None:
    pipeline = ConsistencyModel(tiny.consistency(), Settings())
    x = parity.noise(pipeline).normal()
    with torch.inference_mode():
        assert torch.equal(pipeline.denoise(x, pipeline.schedule.sigma_min, pipeline.encode(["1", "2"])), x)
