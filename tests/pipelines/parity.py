"""The decisive comparison: our solver on our denoiser, against the pipeline's own call, from the same noise."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.grids import Grid
from bench.nfe import Ledger
from bench.pipelines.base import Pipeline
from bench.pipelines.conditions import Table
from bench.pipelines.network import GuidedRows, pipeline_network
from bench.rng import SampleNoise
from bench.sampling import make_solver

sys.path.insert(0, str(Path(__file__).parent))
import tiny

TOLERANCE = 1e-4


def noise(pipeline: Pipeline, count: int = 2) -> SampleNoise:
    return SampleNoise(("parity", 0, "initial"), range(count), pipeline.shape)


def grid_of(pipeline: Pipeline, steps: int) -> Grid:
    """The grid of the pipeline's scheduler, ended by clean data."""
    scheduler = pipeline.pipe.scheduler
    scheduler.set_timesteps(steps)
    times = torch.as_tensor(scheduler.timesteps, dtype=torch.float64)
    return Grid(torch.cat([pipeline.process.sigma(times), times.new_zeros(1)]), pipeline.process)


def ours(pipeline: Pipeline, prompts: Sequence[str], eps: Tensor, grid: Grid, solver: str = "ddim") -> Tensor:
    """Our latents (B, ...), guided at the pipeline's scale, from ``sigma_max * eps``."""
    table = Table(pipeline, prompts)
    network = Ledger().network(pipeline_network(pipeline, table))
    label = torch.arange(len(prompts))
    denoise = GuidedRows(network, label, null=len(prompts), guidance_scale=pipeline.weight)
    with torch.inference_mode():
        unused = SampleNoise(("parity", 0, "method"), range(len(prompts)), pipeline.shape)
        return make_solver(solver).integrate(denoise, grid.nodes[0] * eps, grid, unused)


def start(pipeline: Pipeline, eps: Tensor, grid: Grid) -> Tensor:
    """The pipeline's own latents at our start, over what its scheduler multiplies them by.

    Schedulers that scale the network's input (Euler, EDM, consistency models) hold ``x``, the others ``x_t = alpha x``.
    """
    sigma, scheduler = grid.sigma[:1], pipeline.pipe.scheduler
    alpha = float(pipeline.process.alpha(pipeline.process.time(sigma)))
    scale = 1.0 if hasattr(scheduler, "is_scale_input_called") else alpha
    return eps * (float(sigma) * scale / float(scheduler.init_noise_sigma))


def call(pipeline: Pipeline, prompts: Sequence[str], eps: Tensor, grid: Grid, **options: Any) -> Tensor:
    """What the pipeline itself makes from the same noise, latents unless ``output_type`` is given."""
    pipe = pipeline.pipe
    pipe.set_progress_bar_config(disable=True)
    if "timesteps" not in options and "sigmas" not in options:
        options["num_inference_steps"] = len(grid) - 1
    named = {"guidance_scale": pipeline.scale, "output_type": "latent", **options}
    found: Tensor = pipe(list(prompts), latents=start(pipeline, eps, grid), **named)[0]
    return found


def error(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the spread of what is expected where that is above 1."""
    return float((found - expected).abs().max() / expected.std().clamp_min(1.0))


def compare(
    pipeline: Pipeline,
    prompts: Sequence[str],
    steps: int,
    solver: str = "ddim",
    negative: str | None = None,
    **options: Any,
) -> float:
    """The error of our latents after these steps of the pipeline's scheduler."""
    eps = noise(pipeline, len(prompts)).normal()
    if negative is not None:
        options["negative_prompt"] = [negative] * len(prompts)
    with tiny.quiet():
        grid = grid_of(pipeline, steps)
        found = ours(pipeline, prompts, eps, grid, solver)
        return error(found, call(pipeline, prompts, eps, grid, **options))
