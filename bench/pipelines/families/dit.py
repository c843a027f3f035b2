"""DiT: a class-conditional transformer on the latents of a VAE (Peebles and Xie 2022, arXiv 2212.09748).

The network also predicts a variance, which deterministic samplers and this harness leave out. Guidance acts on all
latent channels, as in the pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.pipelines.base import Condition, Pipeline, component
from bench.pipelines.classes import class_numbers, every_class
from bench.pipelines.unet import to_pictures


class DiT(Pipeline):
    """``DiT-XL-2-256`` and the like; the size is the network's own."""

    classes = ("DiTPipeline",)
    text = False
    default_guidance = 4.0

    @property
    def denoiser(self) -> nn.Module:
        transformer: nn.Module = component(self.pipe, "transformer")
        return transformer

    @property
    def shape(self) -> tuple[int, ...]:
        config = self.pipe.transformer.config
        return (config.in_channels, config.sample_size, config.sample_size)

    @property
    def count(self) -> int:
        """How many classes there are; the class of this number stands for none."""
        return int(self.pipe.transformer.config.num_embeds_ada_norm)

    def default_prompts(self) -> tuple[str, ...]:
        return every_class(self.count)

    def encode(self, prompts: Sequence[str]) -> Condition:
        names: dict[str, int] = getattr(self.pipe, "labels", None) or {}
        return {"class": class_numbers(prompts, self.count, names).to(self.device)}

    def encode_null(self) -> Condition:
        return {"class": torch.tensor([self.count], device=self.device)}

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        out: Tensor = self.denoiser(x_t, timestep=t, class_labels=condition["class"], return_dict=False)[0]
        return out[:, : x_t.shape[1]]

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        vae = component(self.pipe, "vae")
        scaled = latents.to(self.device, vae.dtype) / vae.config.scaling_factor
        return to_pictures(vae.decode(scaled, return_dict=False)[0])
