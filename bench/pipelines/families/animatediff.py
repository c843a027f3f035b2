"""AnimateDiff (Guo et al. 2023, arXiv 2307.04725): the U-Net of Stable Diffusion with a motion adapter between frames.

FreeInit and FreeNoise, options of the pipeline that are off by default, are not offered.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from bench.pipelines.base import Condition
from bench.pipelines.unet import ClipUNetPipeline


class AnimateDiff(ClipUNetPipeline):
    """Latents (C, F, h, w) of a clip; every frame has the prompt's condition."""

    classes = ("AnimateDiffPipeline",)
    default_guidance = 7.5

    @property
    def longest(self) -> int:
        return int(self.pipe.unet.config.motion_max_seq_length)

    def arguments(self, condition: Condition) -> tuple[Tensor | None, dict[str, Any]]:
        return condition["text"].repeat_interleave(self.shape[1], dim=0), {}
