"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, a U-Net that predicts noise or v, latents of a VAE.

Rombach et al. 2021, arXiv 2112.10752. Latent consistency models (arXiv 2310.04378) have the same parts and a network
that is told the guidance scale in place of two evaluations. ``guidance_rescale`` of the pipeline's call, off by
default, is not offered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench.pipelines.base import Condition
from bench.pipelines.unet import TextUNetPipeline


class StableDiffusion(TextUNetPipeline):
    """The text-to-image pipeline; the safety checker and the watermark are no part of a benchmark and are not run."""

    classes = ("StableDiffusionPipeline",)
    default_guidance = 7.5

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Condition:
        text, _ = self.pipe.encode_prompt(list(prompts), self.device, 1, False)
        return {"text": text}

    def arguments(self, condition: Condition) -> tuple[Tensor | None, dict[str, Any]]:
        return condition["text"], self.told_scale(condition["text"])


class LatentConsistency(StableDiffusion):
    """A distilled Stable Diffusion whose network is told the guidance scale."""

    classes = ("LatentConsistencyModelPipeline",)
    guidance = "embedded"
    default_guidance = 8.5
