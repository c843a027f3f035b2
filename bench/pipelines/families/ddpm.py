"""Unconditional pixel diffusion: a U-Net without conditions (Ho et al. 2020, arXiv 2006.11239).

Samples are as the network makes them. The schedulers of these pipelines may clip x0 at every step
(``clip_sample``); solvers of the registry do not, so parity holds with clipping off.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.pipelines.base import Condition
from bench.pipelines.unet import UNetPipeline, square, to_pictures


class PixelUNet(UNetPipeline):
    """DDPM and DDIM pipelines; of PNDM and score-based ones those that older versions of diffusers saved."""

    classes = ("DDPMPipeline", "DDIMPipeline", "PNDMPipeline")
    guidance = "none"
    text = False

    @property
    def shape(self) -> tuple[int, ...]:
        config = self.pipe.unet.config
        return (config.in_channels, *square(config.sample_size))

    def encode(self, prompts: Sequence[str]) -> Condition:
        return {"nothing": torch.zeros(len(prompts), 1, dtype=torch.uint8, device=self.device)}

    def decode(self, latents: Tensor) -> Tensor:
        return to_pictures(latents)
