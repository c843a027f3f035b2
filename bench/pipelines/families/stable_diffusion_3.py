"""Stable Diffusion 3 and 3.5 (Esser et al. 2024, arXiv 2403.03206).

Its three text encoders (two CLIP, one T5, which a folder may lack) become one sequence and one pooled vector. Guidance
that skips layers, an option of the pipeline's call that is off by default, is not offered.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.pipelines.base import Condition
from bench.pipelines.transformer import TransformerPipeline
from bench.pipelines.unet import to_pictures

PROMPT_TOKENS = 256  # of T5; the CLIP encoders have their own


class StableDiffusion3(TransformerPipeline):
    """A flow in latents with a multimodal transformer."""

    classes = ("StableDiffusion3Pipeline",)
    default_guidance = 7.0

    @property
    def shape(self) -> tuple[int, ...]:
        factor = self.pipe.vae_scale_factor
        side = self.pipe.default_sample_size * factor
        height, width = self.size((side, side), factor * self.config.patch_size)
        return (self.config.in_channels, height // factor, width // factor)

    @property
    def tokens(self) -> int:
        _, height, width = self.shape
        patch = int(self.config.patch_size)
        return (height // patch) * (width // patch)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Condition:
        text, _, pooled, _ = self.pipe.encode_prompt(
            list(prompts),
            prompt_2=None,
            prompt_3=None,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.settings.max_sequence_length or PROMPT_TOKENS,
        )
        return {"text": text, "pooled": pooled}

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        out: Tensor = self.denoiser(
            hidden_states=x_t,
            timestep=self.told(t),
            encoder_hidden_states=condition["text"].to(x_t.dtype),
            pooled_projections=condition["pooled"].to(x_t.dtype),
            return_dict=False,
        )[0]
        return out

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        config = self.vae.config
        scaled = self.decoder_input(latents) / config.scaling_factor + config.shift_factor
        return to_pictures(self.vae.decode(scaled, return_dict=False)[0])
