"""Every family in half precision: the network and the decoder run in it, the state and the pictures stay in float32."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.pipelines.base import Settings
from bench.pipelines.conditions import Table
from bench.pipelines.families import family_of
from bench.pipelines.network import GuidedRows, pipeline_network

sys.path.insert(0, str(Path(__file__).parent))
import parity
import tiny
import tiny_transformers

SMALL = {"height": 64, "width": 64}
BUILD: dict[str, tuple[Callable[[], Any], dict[str, int]]] = {
    "StableDiffusionPipeline": (tiny.stable_diffusion, {}),
    "StableDiffusionXLPipeline": (tiny.stable_diffusion_xl, {}),
    "StableDiffusion3Pipeline": (tiny_transformers.stable_diffusion_3, {}),
    "FluxPipeline": (tiny_transformers.flux, {"height": 24, "width": 32}),
    "SanaPipeline": (tiny_transformers.sana, {}),
    "PixArtAlphaPipeline": (tiny_transformers.pixart, SMALL),
    "DiTPipeline": (tiny.dit, {}),
    "LDMPipeline": (tiny.latent_unconditional, {}),
    "DDIMPipeline": (tiny.ddpm, {}),
    "ConsistencyModelPipeline": (tiny.consistency, {}),
    "AnimateDiffPipeline": (tiny_transformers.animatediff, {"frames": 2}),
    "CogVideoXPipeline": (tiny_transformers.cogvideox, {"frames": 5, "height": 32, "width": 48}),
    "WanPipeline": (tiny_transformers.wan, {"frames": 5, "height": 16, "width": 16}),
    "LTXPipeline": (tiny_transformers.ltx, {"frames": 9, **SMALL}),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", BUILD)
def test_half_precision(kind: str, dtype: torch.dtype) -> None:
    build, size = BUILD[kind]
    with tiny.quiet():
        exact, rounded = (family_of(kind)(build().to(each), Settings(**size)) for each in (torch.float32, dtype))
        prompts = ("a red cat", "a dog") if exact.text else exact.default_prompts()[:2]
        eps = parity.noise(exact).normal()
        found = []
        for pipeline in (exact, rounded):
            network = pipeline_network(pipeline, Table(pipeline, prompts))
            label = torch.arange(2) % len(prompts)
            with torch.inference_mode():
                clean = GuidedRows(network, label, len(prompts), pipeline.weight)(1.5 * eps, 1.5)
                found.append((clean, pipeline.decode(clean)))
    assert rounded.dtype == dtype
    assert all(value.dtype == torch.float32 for value in found[1])
    assert 0 < parity.error(found[1][0], found[0][0]) < 0.5
    assert torch.isfinite(found[1][1]).all()
