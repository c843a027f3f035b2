"""Stable Diffusion XL: two text encoders, a pooled embedding and the picture's size told to the U-Net.

Podell et al. 2023, arXiv 2307.01952. Without a negative prompt the null condition is zeros where the pipeline's
configuration says so (``force_zeros_for_empty_prompt``); the size embedded is the one generated, without crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench.pipelines.base import Condition
from bench.pipelines.unet import TextUNetPipeline


class StableDiffusionXL(TextUNetPipeline):
    """The text-to-image pipeline, without the watermark."""

    classes = ("StableDiffusionXLPipeline",)
    default_guidance = 5.0

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Condition:
        text, _, pooled, _ = self.pipe.encode_prompt(
            list(prompts), device=self.device, do_classifier_free_guidance=False
        )
        return self._with_size(text, pooled)

    @torch.inference_mode()
    def encode_null(self) -> Condition:
        _, text, _, pooled = self.pipe.encode_prompt(
            [""],
            device=self.device,
            do_classifier_free_guidance=True,
            negative_prompt=None if self.settings.negative_prompt is None else [self.settings.negative_prompt],
        )
        return self._with_size(text, pooled)

    def _with_size(self, text: Tensor, pooled: Tensor) -> Condition:
        second = self.pipe.text_encoder_2
        width = int(pooled.shape[-1]) if second is None else second.config.projection_dim
        size = self._sizes(text.dtype, width)
        return {"text": text, "pooled": pooled, "size": size.to(self.device).repeat(len(text), 1)}

    def _sizes(self, dtype: torch.dtype, width: int) -> Tensor:
        """(1, 6) the original size, the crop's corner and the size generated."""
        found: Tensor = self.pipe._get_add_time_ids(
            self.size, (0, 0), self.size, dtype=dtype, text_encoder_projection_dim=width
        )
        return found

    def arguments(self, condition: Condition) -> tuple[Tensor | None, dict[str, Any]]:
        added = {"text_embeds": condition["pooled"], "time_ids": condition["size"]}
        return condition["text"], {"added_cond_kwargs": added, **self.told_scale(condition["text"])}

    def unscale(self, latents: Tensor) -> Tensor:
        config = self.vae.config
        mean, std = config.get("latents_mean"), config.get("latents_std")
        if mean is None or std is None:
            return super().unscale(latents)
        spread, centre = (latents.new_tensor(value).view(1, -1, 1, 1) for value in (std, mean))
        return latents * spread / float(config.scaling_factor) + centre
