"""No step of a denoiser copies from the host: on a GPU it would wait for the device, and fit in no CUDA graph.

The device is ``meta``, on which shapes are worked out and nothing is computed; copies from the host show there as well.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from bench.pipelines.base import Pipeline, Settings
from bench.pipelines.conditions import Table
from bench.pipelines.families.animatediff import AnimateDiff
from bench.pipelines.families.cogvideox import CogVideoX
from bench.pipelines.families.consistency import ConsistencyModel
from bench.pipelines.families.ddpm import PixelUNet
from bench.pipelines.families.dit import DiT
from bench.pipelines.families.flux import Flux
from bench.pipelines.families.ltx import LTX
from bench.pipelines.families.pixart import PixArt
from bench.pipelines.families.sana import Sana
from bench.pipelines.families.stable_diffusion import StableDiffusion
from bench.pipelines.families.stable_diffusion_3 import StableDiffusion3
from bench.pipelines.families.stable_diffusion_xl import StableDiffusionXL
from bench.pipelines.families.wan import Wan

sys.path.insert(0, str(Path(__file__).parent))
import tiny
import tiny_transformers
import tiny_video

FAMILIES: dict[str, Callable[[], Pipeline]] = {
    "ddpm": lambda: PixelUNet(tiny.ddpm(), Settings()),
    "consistency": lambda: ConsistencyModel(tiny.consistency(), Settings()),
    "dit": lambda: DiT(tiny.dit(), Settings()),
    "stable_diffusion": lambda: StableDiffusion(tiny.stable_diffusion(), Settings()),
    "stable_diffusion_xl": lambda: StableDiffusionXL(tiny.stable_diffusion_xl(), Settings()),
    "stable_diffusion_3": lambda: StableDiffusion3(tiny_transformers.stable_diffusion_3(), Settings()),
    "pixart": lambda: PixArt(tiny_transformers.pixart(), Settings()),
    "flux": lambda: Flux(tiny_transformers.flux(), Settings(height=24, width=32)),
    "sana": lambda: Sana(tiny_transformers.sana(), Settings()),
    "animatediff": lambda: AnimateDiff(tiny_video.animatediff(), Settings(frames=4)),
    "cogvideox": lambda: CogVideoX(tiny_video.cogvideox(), Settings()),
    "ltx": lambda: LTX(tiny_video.ltx(), Settings(height=64, width=64, frames=9)),
    "wan": lambda: Wan(tiny_video.wan(), Settings(height=32, width=32, frames=5)),
}


class Copies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation that takes a tensor from the host to ``meta``; a number for all elements is none."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        read = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
        made = [each for each in tree_flatten(result)[0] if isinstance(each, Tensor)]
        from_host = any(each.device.type == "cpu" and (each.ndim or "to" in str(func)) for each in read)
        if from_host and any(each.device.type == "meta" for each in made):
            self.found.append(str(func))
        return result


@pytest.mark.parametrize("name", list(FAMILIES))
def test_after_the_first_call_nothing_comes_from_the_host(name: str) -> None:
    pipeline = FAMILIES[name]()
    with torch.inference_mode(), tiny.quiet():
        prompts = ["a cat", "two dogs"] if pipeline.text else list(pipeline.default_prompts())[:2]
        rows = Table(pipeline, prompts).rows(torch.arange(len(prompts)))
        condition = {key: value.to("meta") for key, value in rows.items()}
        pipeline.pipe.to("meta")
        x = torch.zeros(len(prompts), *pipeline.shape, device="meta")
        sigma = torch.ones(len(x), dtype=torch.float64, device="meta")
        pipeline.denoise(x, sigma, condition)
        with Copies() as copies:
            assert pipeline.denoise(x, sigma, condition).shape == x.shape
    assert copies.found == []
