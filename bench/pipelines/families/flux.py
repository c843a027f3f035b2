"""FLUX.1 (Black Forest Labs 2024, github.com/black-forest-labs/flux).

A latent is a sequence of packed 2x2 patches. The guidance scale is told to the network (FLUX.1-dev) or there is none
(FLUX.1-schnell); ``true_cfg_scale`` of the pipeline's call, which is off by default, is not offered.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bench.errors import UsageError
from bench.pipelines.base import Condition, Settings
from bench.pipelines.transformer import TransformerPipeline
from bench.pipelines.unet import to_pictures

PROMPT_TOKENS = 512  # of T5; of the CLIP encoder only the pooled vector is used


class Flux(TransformerPipeline):
    """A flow in packed latents."""

    classes = ("FluxPipeline",)
    guidance = "embedded"
    default_guidance = 3.5

    def __init__(self, pipe: Any, settings: Settings) -> None:
        super().__init__(pipe, settings)
        if not self.config.guidance_embeds and settings.guidance_scale not in (None, 0.0, 1.0):
            raise UsageError("this FLUX was distilled without guidance (guidance_embeds is false); leave its scale out")

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        factor = self.pipe.vae_scale_factor
        side = self.pipe.default_sample_size * factor
        return self.size((side, side), 2 * factor)

    @property
    def patches(self) -> tuple[int, int]:
        """Rows and columns of packed patches."""
        height, width = self.pixels
        return height // (2 * self.pipe.vae_scale_factor), width // (2 * self.pipe.vae_scale_factor)

    @property
    def tokens(self) -> int:
        return self.patches[0] * self.patches[1]

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.tokens, self.config.in_channels)

    @property
    def is_told(self) -> bool:
        return bool(self.config.guidance_embeds)

    @property
    def scale(self) -> float:
        return super().scale if self.is_told else 1.0

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Condition:
        text, pooled, _ = self.pipe.encode_prompt(
            list(prompts),
            device=self.device,
            max_sequence_length=self.settings.max_sequence_length or PROMPT_TOKENS,
        )
        return {"text": text, "pooled": pooled}

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        guidance = None
        if self.is_told:
            guidance = torch.full((len(x_t),), self.scale, device=x_t.device, dtype=torch.float32)
        text = condition["text"].to(x_t.dtype)
        out: Tensor = self.denoiser(
            hidden_states=x_t,
            timestep=self.told(t).to(x_t.dtype) / 1000,
            guidance=guidance,
            pooled_projections=condition["pooled"].to(x_t.dtype),
            encoder_hidden_states=text,
            txt_ids=text.new_zeros(text.shape[1], 3),
            img_ids=self._places(x_t),
            return_dict=False,
        )[0]
        return out

    def _places(self, x_t: Tensor) -> Tensor:
        """Row and column of every patch; made once, as they come from the host, and a copy from there waits."""
        key = (x_t.device, x_t.dtype)
        if key not in self._made:
            self._made[key] = self.pipe._prepare_latent_image_ids(len(x_t), *self.patches, *key)
        return self._made[key]

    @cached_property
    def _made(self) -> dict[tuple[torch.device, torch.dtype], Tensor]:
        return {}

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        config = self.vae.config
        packed = self.decoder_input(latents)
        unpacked = self.pipe._unpack_latents(packed, *self.pixels, self.pipe.vae_scale_factor)
        scaled = unpacked / config.scaling_factor + config.shift_factor
        return to_pictures(self.vae.decode(scaled, return_dict=False)[0])
