"""SD 1.5 (noise prediction) and 2.1 (v, zero terminal SNR): our latents are the pipeline's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.grids import Grid
from bench.pipelines.base import Settings
from bench.pipelines.families.stable_diffusion import StableDiffusion
from bench.pipelines.schedule import SMALLEST_ALPHA_BAR

sys.path.insert(0, str(Path(__file__).parent))
import parity
import tiny

V = {"prediction_type": "v_prediction"}
ZERO_SNR = {**V, "rescale_betas_zero_snr": True}
DPM = {"solver_order": 2, "algorithm_type": "dpmsolver++", "lower_order_final": True}


def compare(steps: int, guidance: float, solver: str = "ddim", negative: str | None = None, **options: Any) -> float:
    pipe = tiny.stable_diffusion(**options)
    pipeline = StableDiffusion(pipe, Settings(guidance_scale=guidance, negative_prompt=negative))
    return parity.compare(pipeline, ["a cat", "two dogs"], steps, solver, negative=negative)


@pytest.mark.parametrize("guidance", [1.0, 7.5])
@pytest.mark.parametrize("steps", [1, 10])
@pytest.mark.parametrize("options", [{}, V], ids=["eps", "v"])
def test_latents_equal_those_of_ddim(options: dict[str, Any], steps: int, guidance: float) -> None:
    assert compare(steps, guidance, **options) <= parity.TOLERANCE


@pytest.mark.parametrize("guidance", [1.0, 7.5])
@pytest.mark.parametrize("steps", [1, 10])
@pytest.mark.parametrize("options", [{}, V], ids=["eps", "v"])
def test_latents_equal_those_of_euler(options: dict[str, Any], steps: int, guidance: float) -> None:
    assert compare(steps, guidance, name="EulerDiscreteScheduler", **options) <= parity.TOLERANCE


@pytest.mark.parametrize("guidance", [1.0, 7.5])
@pytest.mark.parametrize("steps", [1, 10])
def test_latents_equal_the_pipelines_at_zero_terminal_snr(steps: int, guidance: float) -> None:
    """Its own Euler scheduler is not compared at one step: it loses 6e-4 of its float32 state at sigma = 4096."""
    options = {"name": "DPMSolverMultistepScheduler", **DPM, "solver_order": 1, **ZERO_SNR}
    assert compare(steps, guidance, **options) <= parity.TOLERANCE
    if steps > 1:
        assert compare(steps, guidance, name="EulerDiscreteScheduler", **ZERO_SNR) <= parity.TOLERANCE


@pytest.mark.parametrize("options", [{}, ZERO_SNR], ids=["eps", "zero-snr"])
def test_latents_equal_those_of_dpm_solver_multistep(options: dict[str, Any]) -> None:
    found = compare(8, 7.5, "dpm_solver_pp", name="DPMSolverMultistepScheduler", **DPM, **options)
    assert found <= parity.TOLERANCE


@pytest.mark.parametrize("guidance", [0.0, 0.5])
def test_scales_up_to_one_are_without_guidance(guidance: float) -> None:
    """As model cards of distilled checkpoints say it: ``guidance_scale=0``."""
    assert compare(2, guidance) <= parity.TOLERANCE


def test_a_network_that_is_told_the_scale_is_evaluated_once() -> None:
    pipe = tiny.stable_diffusion()
    pipe.register_modules(unet=tiny.unet_text(time_cond_proj_dim=8))
    pipeline = StableDiffusion(pipe, Settings(guidance_scale=7.5))
    assert pipeline.weight == 1.0
    assert parity.compare(pipeline, ["a cat", "two dogs"], 2) <= parity.TOLERANCE
    assert parity.compare(pipeline, ["a cat", "two dogs"], 2, guidance_scale=2.0) > 10 * parity.TOLERANCE


def test_the_negative_prompt_is_the_pipelines_own() -> None:
    assert compare(4, 7.5, negative="ugly") <= parity.TOLERANCE
    assert compare(4, 7.5, negative="ugly") != compare(4, 7.5, negative="a")


def test_the_grid_need_not_be_even() -> None:
    options = {"name": "EulerDiscreteScheduler", "use_karras_sigmas": True}
    assert compare(6, 3.0, **options) <= parity.TOLERANCE


@pytest.mark.parametrize("steps", [1, 10])
def test_zero_terminal_snr_under_ddim_differs_by_the_last_alpha_only(steps: int) -> None:
    """DDIM puts alpha = 0 where other schedulers and we put 2**-12: one part in 4096 of the noise."""
    assert compare(steps, 1.0, **ZERO_SNR) <= 8 * SMALLEST_ALPHA_BAR**0.5


def test_decoded_pictures_equal_the_pipelines_own() -> None:
    pipe = tiny.stable_diffusion()
    pipeline = StableDiffusion(pipe, Settings())
    grid = parity.grid_of(pipeline, 2)
    eps = parity.noise(pipeline).normal()
    with tiny.quiet():
        expected = parity.call(pipeline, ["a cat", "two dogs"], eps, grid, output_type="pt")
    latents = parity.ours(pipeline, ["a cat", "two dogs"], eps, grid)
    assert parity.error(pipeline.decode(latents), expected) <= parity.TOLERANCE


def test_sizes_are_the_users() -> None:
    pipeline = StableDiffusion(tiny.stable_diffusion(), Settings(height=24, width=32))
    assert pipeline.shape == (4, 12, 16)
    assert parity.compare(pipeline, ["a cat"], 2, height=24, width=32) <= parity.TOLERANCE


def test_a_grid_given_by_hand_is_a_schedulers_grid_too() -> None:
    pipeline = StableDiffusion(tiny.stable_diffusion(name="EulerDiscreteScheduler"), Settings(guidance_scale=2.0))
    times = torch.tensor([999.0, 500.0, 20.0], dtype=torch.float64)
    sigma = torch.cat([pipeline.process.sigma(times), torch.zeros(1, dtype=torch.float64)])
    eps = parity.noise(pipeline).normal()
    grid = Grid(sigma, pipeline.process)
    found = parity.ours(pipeline, ["a cat", "two dogs"], eps, grid)
    with tiny.quiet():
        expected = parity.call(pipeline, ["a cat", "two dogs"], eps, grid, timesteps=[999, 500, 20])
    assert parity.error(found, expected) <= parity.TOLERANCE
