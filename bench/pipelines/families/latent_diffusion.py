"""Latent diffusion before Stable Diffusion: unconditional (VQ model) and text-to-image with a BERT-like encoder.

Rombach et al. 2021, arXiv 2112.10752. These pipelines have no negative prompt of their own; the null condition is the
empty text, or the user's negative prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bench.pipelines.base import Condition, component
from bench.pipelines.unet import LatentUNetPipeline

LENGTH = 77  # tokens, written out in the pipeline's own code


class LatentText(LatentUNetPipeline):
    """``ldm-text2im-large-256`` and the like."""

    classes = ("LDMTextToImagePipeline",)
    vae_name = "vqvae"
    default_guidance = 1.0
    interpolates = True

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Condition:
        tokens = component(self.pipe, "tokenizer")(
            list(prompts), padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
        )
        return {"text": component(self.pipe, "bert")(tokens.input_ids.to(self.device))[0]}


class LatentUnconditional(LatentUNetPipeline):
    """``ldm-celebahq-256`` and the like; the size is the network's own."""

    classes = ("LDMPipeline",)
    vae_name = "vqvae"
    guidance = "none"
    text = False

    def encode(self, prompts: Sequence[str]) -> Condition:
        return {"nothing": torch.zeros(len(prompts), 1, dtype=torch.uint8, device=self.device)}
