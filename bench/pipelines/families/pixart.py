"""PixArt-alpha and PixArt-Sigma (Chen et al. 2023, arXiv 2310.00426; 2024, arXiv 2403.04692).

The size that was asked for is the size that is generated: ``use_resolution_binning`` of the pipeline, which generates
at the nearest trained aspect ratio and resizes, is off. The learned variance is dropped, as the pipeline does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench.pipelines.base import Condition
from bench.pipelines.transformer import TransformerPipeline, need_cleaners
from bench.pipelines.unet import to_pictures

TOLD_THE_SIZE = 128  # the sample size of the PixArt-alpha that resolution and aspect ratio are conditions of
PROMPT_TOKENS = {"PixArtAlphaPipeline": 120, "PixArtSigmaPipeline": 300}


class PixArt(TransformerPipeline):
    """A transformer with a T5 encoder and attention masks."""

    classes = tuple(PROMPT_TOKENS)
    default_guidance = 4.5

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        factor, side = self.pipe.vae_scale_factor, self.config.sample_size * self.pipe.vae_scale_factor
        return self.size((side, side), max(8, factor * self.config.patch_size))

    @property
    def shape(self) -> tuple[int, ...]:
        height, width = (side // self.pipe.vae_scale_factor for side in self.pixels)
        return (self.config.in_channels, height, width)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Condition:
        need_cleaners("bs4", "ftfy")
        embeds, mask, _, _ = self.pipe.encode_prompt(
            list(prompts),
            do_classifier_free_guidance=False,
            device=self.device,
            clean_caption=True,  # the default of the pipeline's call, though not of this method
            max_sequence_length=self.settings.max_sequence_length or PROMPT_TOKENS[type(self.pipe).__name__],
        )
        return {"text": embeds, "mask": mask}

    def _size_conditions(self, x_t: Tensor) -> dict[str, Any]:
        if type(self.pipe).__name__ != "PixArtAlphaPipeline" or self.config.sample_size != TOLD_THE_SIZE:
            return {"resolution": None, "aspect_ratio": None}
        height, width = self.pixels
        # filled on the device: a copy from the host would wait for it at every step
        tall, wide, ratio = (x_t.new_full((len(x_t), 1), number) for number in (height, width, height / width))
        return {"resolution": torch.cat([tall, wide], 1), "aspect_ratio": ratio}

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        out: Tensor = self.denoiser(
            x_t,
            encoder_hidden_states=condition["text"].to(x_t.dtype),
            encoder_attention_mask=condition["mask"],
            timestep=self.told(t),
            added_cond_kwargs=self._size_conditions(x_t),
            return_dict=False,
        )[0]
        return out.chunk(2, dim=1)[0] if out.shape[1] == 2 * x_t.shape[1] else out

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        scaled = self.decoder_input(latents) / self.vae.config.scaling_factor
        return to_pictures(self.vae.decode(scaled, return_dict=False)[0])
