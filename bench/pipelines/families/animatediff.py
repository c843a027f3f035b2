"""AnimateDiff (Guo et al. 2023, arXiv 2307.04725): the U-Net of Stable Diffusion with a motion adapter between frames.

FreeInit and FreeNoise, options of the pipeline that are off by default, are not offered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench.errors import UsageError
from bench.pipelines.base import Condition
from bench.pipelines.transformer import to_clips
from bench.pipelines.unet import LatentUNetPipeline

FRAMES = 16


class AnimateDiff(LatentUNetPipeline):
    """Latents (C, F, h, w) of a clip; every frame has the prompt's condition."""

    classes = ("AnimateDiffPipeline",)
    default_guidance = 7.5
    video = True

    @property
    def shape(self) -> tuple[int, ...]:
        frames = FRAMES if self.settings.frames is None else self.settings.frames
        longest = self.pipe.unet.config.motion_max_seq_length
        if not 1 <= frames <= longest:
            raise UsageError(f"frames must be 1 to {longest} for this motion adapter, not {frames}")
        channels, height, width = super().shape
        return (channels, frames, height, width)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Condition:
        text, _ = self.pipe.encode_prompt(list(prompts), self.device, 1, do_classifier_free_guidance=False)
        return {"text": text}

    def arguments(self, condition: Condition) -> tuple[Tensor | None, dict[str, Any]]:
        return condition["text"].repeat_interleave(self.shape[1], dim=0), {}

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        return to_clips(self.pipe.decode_latents(latents.to(self.device, self.vae.dtype)))
