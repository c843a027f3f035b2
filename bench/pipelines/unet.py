"""What the families with a U-Net share: calling it whole or in parts, and the decoders of pixels and of a VAE."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.nets.diffusers_unet import DiffusersUNet
from bench.pipelines.base import Condition, Pipeline, component, pixels
from bench.pipelines.transformer import to_clips
from bench.reuse import Memory, Part

FRAMES = 16
"""Of a clip, unless the user says otherwise: the default of both pipelines' own call."""


def square(size: int | tuple[int, int] | list[int]) -> tuple[int, int]:
    """Height and width of a ``sample_size``, which may be one number."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def to_pictures(pixels_: Tensor) -> Tensor:
    """From [-1, 1] to [0, 1], cut there, float32; one channel becomes three."""
    pictures = (pixels_.float() / 2 + 0.5).clamp(0, 1)
    return pictures.expand(-1, 3, -1, -1) if pictures.shape[1] == 1 else pictures


class UNetPipeline(Pipeline):
    """A pipeline whose denoiser is ``pipe.unet``, called with one condition and perhaps more."""

    @property
    def denoiser(self) -> nn.Module:
        unet: nn.Module = component(self.pipe, "unet")
        return unet

    def arguments(self, condition: Condition) -> tuple[Tensor | None, dict[str, Any]]:
        """The U-Net's third argument (encoder hidden states or classes) and its further named ones."""
        return condition.get("text"), {}

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        third, options = self.arguments(condition)
        out: Tensor = self.denoiser(x_t, t, third, **options, return_dict=False)[0]
        return out

    @cached_property
    def _in_parts(self) -> DiffusersUNet:
        return DiffusersUNet(self.denoiser)

    def partial(self, x_t: Tensor, t: Tensor, condition: Condition, memory: Memory, part: Part) -> Tensor:
        """The U-Net run in parts, see ``bench.reuse.Partial``."""
        third, self._in_parts.options = self.arguments(condition)
        return self._in_parts.partial(x_t, t, third, memory, part)  # type: ignore[arg-type]


class LatentUNetPipeline(UNetPipeline):
    """A U-Net on the latents of ``pipe.vae``; sizes may be chosen."""

    vae_name = "vae"

    @property
    def vae(self) -> Any:
        """The autoencoder."""
        return component(self.pipe, self.vae_name)

    @property
    def factor(self) -> int:
        """Pixels per latent."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures in pixels."""
        high, wide = square(self.pipe.unet.config.sample_size)
        settings, factor = self.settings, self.factor
        multiple = max(8, factor)  # what the pipelines of diffusers ask for
        return (
            pixels(settings.height, high * factor, multiple, "height"),
            pixels(settings.width, wide * factor, multiple, "width"),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        high, wide = self.size
        return (self.pipe.unet.config.in_channels, high // self.factor, wide // self.factor)

    def unscale(self, latents: Tensor) -> Tensor:
        """From the denoiser's latents to the decoder's."""
        return latents / float(self.vae.config.scaling_factor)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        vae = self.vae
        # half precision overflows in the decoder of SDXL, which then says so in its configuration
        upcast = vae.dtype == torch.float16 and vae.config.get("force_upcast", False)
        if upcast:
            vae.to(dtype=torch.float32)
        latents = self.unscale(latents.to(self.device, torch.float32 if upcast else vae.dtype))
        try:
            return to_pictures(vae.decode(latents, return_dict=False)[0])
        finally:
            if upcast:
                vae.to(dtype=torch.float16)


class TextUNetPipeline(LatentUNetPipeline):
    """A latent U-Net with text; it is told the guidance scale if it was distilled to be (LCM, arXiv 2310.04378)."""

    @property
    def told_width(self) -> int | None:
        """Of the embedding of the scale; None where the network is not told."""
        width: int | None = self.pipe.unet.config.get("time_cond_proj_dim")
        return width

    @property
    def is_told(self) -> bool:
        return self.told_width is not None

    def told_scale(self, text: Tensor) -> dict[str, Tensor]:
        """The U-Net's argument of the scale for the rows of ``text``; empty where it is not told."""
        width = self.told_width
        if width is None:
            return {}
        scale = torch.full((len(text),), self.scale - 1)  # the pipelines' own convention: w is the scale less one
        return {"timestep_cond": self.pipe.get_guidance_scale_embedding(scale, embedding_dim=width).to(text)}


class ClipUNetPipeline(LatentUNetPipeline):
    """A latent U-Net of clips with text; latents are (C, F, h, w)."""

    video = True

    @property
    def longest(self) -> int | None:
        """How many frames the network can do; None if there is no limit."""
        return None

    @property
    def shape(self) -> tuple[int, ...]:
        frames, longest = FRAMES if self.settings.frames is None else self.settings.frames, self.longest
        if longest is not None and not 1 <= frames <= longest:
            raise UsageError(f"frames must be 1 to {longest} for this motion adapter, not {frames}")
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
