"""HunyuanVideo (Kong et al. 2024, arXiv 2412.03603).

Its language model reads a prompt inside the pipeline's own template. The guidance scale is told to the network;
``true_cfg_scale`` of the pipeline's call, which is off by default, is not offered.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.pipelines.base import Condition
from bench.pipelines.transformer import TransformerPipeline, to_clips

PROMPT_TOKENS = 256
SIZE, FRAMES = (720, 1280), 129


class HunyuanVideo(TransformerPipeline):
    """A flow in the latents (C, F, h, w) of a causal video autoencoder."""

    classes = ("HunyuanVideoPipeline",)
    guidance = "embedded"
    default_guidance = 6.0
    video = True

    @property
    def shape(self) -> tuple[int, ...]:
        factor = self.pipe.vae_scale_factor_spatial
        height, width = self.size(SIZE, max(16, factor * self.config.patch_size))
        frames = self.latent_frames(FRAMES, self.pipe.vae_scale_factor_temporal)
        return (self.config.in_channels, frames, height // factor, width // factor)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Condition:
        length = self.settings.max_sequence_length or PROMPT_TOKENS
        text, pooled, mask = self.pipe.encode_prompt(list(prompts), device=self.device, max_sequence_length=length)
        return {"text": text, "pooled": pooled, "mask": mask}

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        guidance = torch.full((len(x_t),), self.scale, dtype=x_t.dtype, device=x_t.device) * 1000.0
        out: Tensor = self.denoiser(
            hidden_states=x_t,
            timestep=self.told(t),
            encoder_hidden_states=condition["text"].to(x_t.dtype),
            encoder_attention_mask=condition["mask"].to(x_t.dtype),
            pooled_projections=condition["pooled"].to(x_t.dtype),
            guidance=guidance,
            return_dict=False,
        )[0]
        return out

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        scaled = self.decoder_input(latents) / self.vae.config.scaling_factor
        return to_clips(self.vae.decode(scaled, return_dict=False)[0])
