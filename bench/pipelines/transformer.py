"""What the families with a transformer share: sizes, flow time, and decoders of pictures and clips.

A flow network is told ``t`` in thousandths. Schedulers of flow matching hand over that number as it is; the flow forms
of DPM-Solver, UniPC and their like cut it to a whole number, so a network that came with one of them is told whole
numbers here too.
"""

from __future__ import annotations

import importlib.util
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.pipelines.base import Pipeline, component, pixels
from bench.pipelines.schedule import Schedule, ShiftedFlow, read_schedule

ROUNDING = 2e-4  # of a thousandth: what float32 may have taken off a whole number before it is cut


class TransformerPipeline(Pipeline):
    """A pipeline whose denoiser is ``pipe.transformer``."""

    @property
    def denoiser(self) -> nn.Module:
        transformer: nn.Module = component(self.pipe, "transformer")
        return transformer

    @property
    def config(self) -> Any:
        """The transformer's configuration."""
        return component(self.pipe, "transformer").config

    @property
    def vae(self) -> Any:
        """The autoencoder."""
        return component(self.pipe, "vae")

    @property
    def tokens(self) -> int | None:
        """Length of the sequence that a scheduler with dynamic shifting goes by; None if the pipeline tells it none."""
        return None

    def size(self, default: tuple[int, int], multiple: int) -> tuple[int, int]:
        """Height and width in pixels: the user's or the default ones.

        Raises:
            UsageError: one is not a multiple of ``multiple``.
        """
        height = pixels(self.settings.height, default[0], multiple, "height")
        return height, pixels(self.settings.width, default[1], multiple, "width")

    def latent_frames(self, default: int, factor: int) -> int:
        """How many frames of latents stand for the user's or the default number of frames.

        Raises:
            UsageError: the number of frames is not 1 plus a multiple of ``factor``.
        """
        frames = default if self.settings.frames is None else self.settings.frames
        if frames < 1 or (frames - 1) % factor:
            raise UsageError(f"frames must be 1 plus a multiple of {factor} for this pipeline, not {frames}")
        return (frames - 1) // factor + 1

    @cached_property
    def schedule(self) -> Schedule:
        scheduler, tokens = self.pipe.scheduler, self.tokens
        return read_schedule(scheduler, None if tokens is None else dynamic_shift(scheduler.config, tokens))

    def told(self, t: Tensor) -> Tensor:
        """What the network is told of the process's time t (B,)."""
        config = self.pipe.scheduler.config
        if not isinstance(self.process, ShiftedFlow):
            return t
        time = config.get("num_train_timesteps", 1000) * self.process.shifted(t.to(torch.float64))
        return (torch.floor(time + ROUNDING) if config.get("use_flow_sigmas", False) else time).to(t.dtype)

    def decoder_input(self, latents: Tensor) -> Tensor:
        """Latents where the decoder runs, in its dtype."""
        return latents.to(self.device, self.vae.dtype)


def dynamic_shift(config: Any, tokens: int) -> float:
    """mu, linear in the length of the sequence: ``calculate_shift`` of FLUX, SD3 and LTX."""
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    least, most = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return float(least + (most - least) * (tokens - low) / (high - low))


def to_clips(video: Tensor) -> Tensor:
    """From (B, 3, F, H, W) in [-1, 1] to (B, F, 3, H, W) in [0, 1], cut there, float32."""
    return (video.float() / 2 + 0.5).clamp(0, 1).transpose(1, 2)


def statistic(values: Any, latents: Tensor) -> Tensor:
    """One number per channel of latents (B, C, F, H, W), in their dtype and on their device."""
    return torch.as_tensor(values).view(1, -1, 1, 1, 1).to(latents.device, latents.dtype)


def need_cleaners(*modules: str) -> None:
    """See that what cleans prompts is there: without it the pipeline would silently encode other texts.

    Raises:
        UsageError: a package is missing.
    """
    if any(importlib.util.find_spec(module) is None for module in modules):
        raise UsageError("this pipeline cleans its prompts; pip install 'fewstep-bench[diffusers]' beautifulsoup4 ftfy")
