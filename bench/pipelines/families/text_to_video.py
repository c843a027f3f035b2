"""ModelScope's text-to-video (Wang et al. 2023, arXiv 2308.06571) and ZeroScope.

Stable Diffusion's text encoder and VAE, and a U-Net that also convolves and attends in time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.errors import UsageError
from bench.pipelines.base import Condition
from bench.pipelines.transformer import to_clips
from bench.pipelines.unet import LatentUNetPipeline

FRAMES = 16


class TextToVideo(LatentUNetPipeline):
    """Latents (C, F, h, w) of a clip."""

    classes = ("TextToVideoSDPipeline",)
    default_guidance = 9.0
    video = True

    @property
    def shape(self) -> tuple[int, ...]:
        frames = FRAMES if self.settings.frames is None else self.settings.frames
        if frames < 1:
            raise UsageError(f"frames must be 1 or more, not {frames}")
        channels, height, width = super().shape
        return (channels, frames, height, width)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Condition:
        text, _ = self.pipe.encode_prompt(list(prompts), self.device, 1, do_classifier_free_guidance=False)
        return {"text": text}

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        return to_clips(self.pipe.decode_latents(latents.to(self.device, self.vae.dtype)))
