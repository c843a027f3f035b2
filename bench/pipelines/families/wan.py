"""Wan 2.1 and 2.2, text to video (Wan team 2025, arXiv 2503.20314).

Wan 2.2 14B has two networks, one for high noise and one below ``boundary_ratio``; both run under one guidance scale,
the default of the pipeline's call. Wan 2.2 5B is told the time of every token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.pipelines.base import Condition, component
from bench.pipelines.transformer import TransformerPipeline, need_cleaners, statistic, to_clips

PROMPT_TOKENS = 512
SIZE, FRAMES = (480, 832), 81


class Wan(TransformerPipeline):
    """A flow in the latents (C, F, h, w) of a causal video autoencoder."""

    classes = ("WanPipeline",)
    default_guidance = 5.0
    video = True

    @property
    def shape(self) -> tuple[int, ...]:
        factor, (_, high, wide) = self.pipe.vae_scale_factor_spatial, self.config.patch_size
        height, _ = self.size(SIZE, factor * high)
        _, width = self.size(SIZE, factor * wide)
        frames = self.latent_frames(FRAMES, self.pipe.vae_scale_factor_temporal)
        return (self.config.in_channels, frames, height // factor, width // factor)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Condition:
        need_cleaners("ftfy")
        length = self.settings.max_sequence_length or PROMPT_TOKENS
        text, _ = self.pipe.encode_prompt(
            list(prompts), do_classifier_free_guidance=False, max_sequence_length=length, device=self.device
        )
        return {"text": text}

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        time, text = self.told(t), condition["text"].to(x_t.dtype)
        ratio = self.pipe.config.boundary_ratio
        if ratio is None:
            return self._run(self.denoiser, x_t, time, text)
        high = time >= ratio * self.pipe.scheduler.config.num_train_timesteps
        low_noise: nn.Module = component(self.pipe, "transformer_2")
        if bool(high.all()) or not bool(high.any()):
            return self._run(self.denoiser if bool(high.all()) else low_noise, x_t, time, text)
        out = torch.empty_like(x_t)
        for rows, network in ((high, self.denoiser), (~high, low_noise)):
            out[rows] = self._run(network, x_t[rows], time[rows], text[rows])
        return out

    def _run(self, network: Any, x_t: Tensor, time: Tensor, text: Tensor) -> Tensor:
        if self.pipe.config.expand_timesteps:
            frames, height, width = x_t.shape[2:]
            time = time[:, None].expand(-1, frames * -(-height // 2) * -(-width // 2))
        out: Tensor = network(hidden_states=x_t, timestep=time, encoder_hidden_states=text, return_dict=False)[0]
        return out

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        latents, config = self.decoder_input(latents), self.vae.config
        scaled = latents * statistic(config.latents_std, latents) + statistic(config.latents_mean, latents)
        return to_clips(self.vae.decode(scaled, return_dict=False)[0])
