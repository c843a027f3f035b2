"""Unconditional, latent-diffusion and pixel-space pipelines: our samples are the pipelines' own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.grids import Grid
from bench.pipelines.base import Pipeline, Settings
from bench.pipelines.families.ddpm import PixelUNet
from bench.pipelines.families.latent_diffusion import LatentText, LatentUnconditional
from bench.pipelines.families.pixel_text import PixelText

sys.path.insert(0, str(Path(__file__).parent))
import parity
import tiny

PROMPTS = ["a cat", "two dogs"]
DPM = {"name": "DPMSolverMultistepScheduler", "solver_order": 2, "algorithm_type": "dpmsolver++"}


def drawn(pipeline: Pipeline, grid: Grid, seed: int = 3) -> tuple[Tensor, torch.Generator]:
    """Noise for ours that makes our start the pipeline's own first draw, and the generator to give it."""
    first = torch.randn((2, *pipeline.shape), generator=torch.Generator().manual_seed(seed))
    eps = first / parity.start(pipeline, torch.ones(()), grid)
    return eps, torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("steps", [1, 10])
@pytest.mark.parametrize(
    ("prediction", "schedule"),
    [
        ("epsilon", "linear"),
        ("sample", "linear"),
        ("v_prediction", "linear"),
        ("sample", "squaredcos_cap_v2"),  # sigma starts at 20,000, where x0 from eps is rounding only
        ("v_prediction", "squaredcos_cap_v2"),
    ],
)
def test_unconditional_pixels(prediction: str, schedule: str, steps: int) -> None:
    pipe = tiny.ddpm(prediction_type=prediction, beta_schedule=schedule, beta_start=1e-4, beta_end=0.02)
    pipeline = PixelUNet(pipe, Settings())
    pipe.set_progress_bar_config(disable=True)
    grid = parity.grid_of(pipeline, steps)
    eps, generator = drawn(pipeline, grid)
    with tiny.quiet():
        pictures = pipe(batch_size=2, generator=generator, num_inference_steps=steps, output_type="pt").images
    found = pipeline.decode(parity.ours(pipeline, ["", ""], eps, grid))
    assert parity.error(found, pictures) <= parity.TOLERANCE
    assert float((pictures > 0).float().mean()) > 0.1


def test_unconditional_latents() -> None:
    pipe = tiny.latent_unconditional()
    pipeline = LatentUnconditional(pipe, Settings())
    pipe.set_progress_bar_config(disable=True)
    latents = []
    decode = pipe.vqvae.decode
    pipe.vqvae.decode = lambda z, **options: (latents.append(z), decode(z, **options))[1]
    for steps in (1, 10):
        grid = parity.grid_of(pipeline, steps)
        eps, generator = drawn(pipeline, grid)
        with tiny.quiet():
            pictures = pipe(batch_size=2, generator=generator, num_inference_steps=steps, output_type="np").images
        found = parity.ours(pipeline, ["", ""], eps, grid)
        assert parity.error(found / pipe.vqvae.config.scaling_factor, latents[-1]) <= parity.TOLERANCE
        # the codebook rounds, so pictures are compared from the very same latents
        own = pipeline.decode(latents[-1] * pipe.vqvae.config.scaling_factor)
        assert parity.error(own, torch.from_numpy(pictures).permute(0, 3, 1, 2)) <= parity.TOLERANCE


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("steps", [1, 10])
def test_latent_text_to_image(steps: int, guidance: float) -> None:
    pipe = tiny.latent_text()
    pipeline = LatentText(pipe, Settings(guidance_scale=guidance))
    grid = parity.grid_of(pipeline, steps)
    eps = parity.noise(pipeline).normal()
    with tiny.quiet():
        expected = parity.call(pipeline, PROMPTS, eps, grid, output_type="pt")
        expected = torch.as_tensor(expected)
    found = pipeline.decode(parity.ours(pipeline, PROMPTS, eps, grid))
    assert parity.error(found, expected) <= parity.TOLERANCE


def sample_by_hand(pipe: Any, prompts: list[str], x: Tensor, steps: int, guidance: float) -> Tensor:
    """What a pipeline of diffusers does, written out: there is none for text to pixels."""
    tokens = pipe.tokenizer(
        [*prompts, *([""] * len(prompts))], padding="max_length", max_length=tiny.LENGTH, return_tensors="pt"
    )
    text = pipe.text_encoder(tokens.input_ids)[0]
    pipe.scheduler.set_timesteps(steps)
    for t in pipe.scheduler.timesteps:
        both = pipe.scheduler.scale_model_input(torch.cat([x, x]), t)
        conditional, unconditional = pipe.unet(both, t, encoder_hidden_states=text).sample.chunk(2)
        output = unconditional + guidance * (conditional - unconditional)
        x = pipe.scheduler.step(output, t, x, return_dict=False)[0]
    return x


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize(("steps", "solver", "options"), [(1, "ddim", {}), (8, "ddim", {}), (8, "dpm_solver_pp", DPM)])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_text_to_pixels(prediction: str, steps: int, solver: str, options: dict[str, Any], guidance: float) -> None:
    pipe = tiny.pixel_text(prediction_type=prediction, **options)
    pipeline = PixelText(pipe, Settings(guidance_scale=guidance))
    grid = parity.grid_of(pipeline, steps)
    eps = parity.noise(pipeline).normal()
    with torch.inference_mode():
        expected = sample_by_hand(pipe, PROMPTS, parity.start(pipeline, eps, grid), steps, guidance)
    assert parity.error(parity.ours(pipeline, PROMPTS, eps, grid, solver), expected) <= parity.TOLERANCE
    assert torch.equal(pipeline.decode(expected), (expected / 2 + 0.5).clamp(0, 1))


def test_grey_becomes_colour() -> None:
    pipeline = PixelUNet(tiny.ddpm(), Settings())
    assert pipeline.decode(torch.zeros(2, 1, 4, 4)).shape == (2, 3, 4, 4)
