"""Consistency models: a class-conditional U-Net, preconditioned so that its output is x0 at every noise level.

Song et al. 2023, arXiv 2303.01469, App. C. One call is a sample; more calls add noise in between (the methods
``consistency`` and ``ddpm`` on a grid, see ``docs/my-diffusers-model.md``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from bench.pipelines.base import Condition
from bench.pipelines.classes import class_numbers, every_class
from bench.pipelines.unet import UNetPipeline, square, to_pictures


class ConsistencyModel(UNetPipeline):
    """OpenAI's consistency models, with classes or without."""

    classes = ("ConsistencyModelPipeline",)
    guidance = "none"
    text = False

    @property
    def shape(self) -> tuple[int, ...]:
        config = self.pipe.unet.config
        return (config.in_channels, *square(config.sample_size))

    def default_prompts(self) -> tuple[str, ...]:
        return every_class(self.pipe.unet.config.num_class_embeds or 0)

    def encode(self, prompts: Sequence[str]) -> Condition:
        count = self.pipe.unet.config.num_class_embeds or 0
        return {"class": class_numbers(prompts, count, {}).to(self.device)}

    def arguments(self, condition: Condition) -> tuple[Tensor | None, dict[str, Any]]:
        return (condition["class"] if self.pipe.unet.config.num_class_embeds else None), {}

    def decode(self, latents: Tensor) -> Tensor:
        return to_pictures(latents)
