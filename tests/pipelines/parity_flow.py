"""The decisive comparison for flows, from a start below t = 1, and for the grids of diffusers' own flow solvers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.grids import Grid
from bench.pipelines.base import Pipeline

sys.path.insert(0, str(Path(__file__).parent))
import parity
import tiny

PROMPTS = ("a red square", "two blue dogs, running")
START = 0.999  # unshifted; the pipelines themselves start at t = 1, where sigma is infinite


def times(steps: int, top: float = START) -> list[float]:
    """Unshifted times of a grid as the pipelines make it, but for its start."""
    return [top * (1 - i / steps) for i in range(steps)]


def grid_at(pipeline: Pipeline, unshifted: Sequence[float]) -> Grid:
    """The grid through these times of the process, ended by clean data."""
    u = torch.tensor(unshifted, dtype=torch.float64)
    return Grid(torch.cat([pipeline.process.sigma(u), u.new_zeros(1)]), pipeline.process)


def solver_grid(pipeline: Pipeline, steps: int) -> Grid:
    """The grid that a flow form of DPM-Solver or UniPC takes by itself."""
    pipeline.pipe.scheduler.set_timesteps(steps)
    share = pipeline.pipe.scheduler.sigmas.to(torch.float64)
    return Grid(share / (1 - share), pipeline.process)


def given_times(pipe: Any, unshifted: Sequence[float]) -> None:
    """Let a pipeline that takes no ``sigmas`` run its own scheduler on these times."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    class FlowMatchGivenTimes(FlowMatchEulerDiscreteScheduler):
        def set_timesteps(
            self, steps: Any = None, device: Any = None, sigmas: Any = None, mu: float | None = None
        ) -> None:
            super().set_timesteps(device=device, mu=mu, sigmas=list(unshifted))

    pipe.scheduler = FlowMatchGivenTimes.from_config(pipe.scheduler.config)


def theirs(pipeline: Pipeline, eps: Tensor, grid: Grid, **options: Any) -> Tensor:
    """What the pipeline itself makes of the same noise; latents unless ``output_type`` is given."""
    share = grid.nodes[0] / (1 + grid.nodes[0])
    named = {"guidance_scale": pipeline.scale, "output_type": "latent", **options}
    with tiny.quiet():
        found: Tensor = pipeline.pipe(list(PROMPTS), latents=share * eps, num_inference_steps=len(grid) - 1, **named)[0]
    return found


def compare(pipeline: Pipeline, grid: Grid, solver: str = "ddim", **options: Any) -> float:
    """The error of our latents on this grid."""
    eps = parity.noise(pipeline, len(PROMPTS)).normal()
    expected = theirs(pipeline, eps, grid, **options)
    with tiny.quiet():
        return parity.error(parity.ours(pipeline, PROMPTS, eps, grid, solver), expected)


def compare_pixels(pipeline: Pipeline, grid: Grid, **options: Any) -> float:
    """The error of what we decode from the pipeline's own latents, in [0, 1]."""
    eps = parity.noise(pipeline, len(PROMPTS)).normal()
    latents = theirs(pipeline, eps, grid, **options)
    expected = theirs(pipeline, eps, grid, output_type="pt", **options)
    found = pipeline.decode(latents)
    assert found.shape == expected.shape and found.dtype == torch.float32
    assert float(expected.std()) > 1e-3  # a flat picture would agree with anything
    return parity.error(found, expected)


def default_start(pipeline: Pipeline, steps: int, **options: Any) -> float:
    """How far our latents from the default start are from the pipeline's own from t = 1 (RMS, over their spread)."""
    eps = parity.noise(pipeline, len(PROMPTS)).normal()
    top = float(pipeline.process.time(torch.tensor(pipeline.process.sigma_max, dtype=torch.float64)))
    grid = grid_at(pipeline, times(steps, top))
    with tiny.quiet():
        found = parity.ours(pipeline, PROMPTS, eps, grid)
        given_times(pipeline.pipe, times(steps, 1.0))
        named = {"guidance_scale": pipeline.scale, "output_type": "latent", **options}
        expected = pipeline.pipe(list(PROMPTS), latents=eps, num_inference_steps=steps, **named)[0]
    return float((found - expected).square().mean().sqrt() / expected.std())
