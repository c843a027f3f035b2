"""LTX-Video (HaCohen et al. 2024, arXiv 2501.00103).

A latent is a sequence of packed patches. Newer decoders denoise once more; they are told ``decode_timestep=0`` and get
no noise, the defaults of the pipeline's call. ``guidance_rescale``, off by default, is not offered, nor is the stretch
of the scheduler's grid to ``shift_terminal``: grids are the registry's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.pipelines.base import Condition
from bench.pipelines.transformer import TransformerPipeline, to_clips

PROMPT_TOKENS = 128
SIZE, FRAMES, FRAME_RATE = (512, 704), 161, 25.0
MULTIPLE = 32  # of pixels, which the pipeline asks for


class LTX(TransformerPipeline):
    """A flow in packed video latents."""

    classes = ("LTXPipeline",)
    default_guidance = 3.0
    video = True

    @property
    def grid(self) -> tuple[int, int, int]:
        """Frames, height and width of the latents before packing."""
        space = self.pipe.vae_spatial_compression_ratio
        height, width = self.size(SIZE, MULTIPLE)
        frames = self.latent_frames(FRAMES, self.pipe.vae_temporal_compression_ratio)
        return frames, height // space, width // space

    @property
    def tokens(self) -> int:
        frames, height, width = self.grid
        return frames * height * width

    @property
    def shape(self) -> tuple[int, ...]:
        space, time = self.config.patch_size, self.config.patch_size_t
        patch = space * space * time
        return (self.tokens // patch, self.config.in_channels * patch)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Condition:
        length = self.settings.max_sequence_length or PROMPT_TOKENS
        text, mask, _, _ = self.pipe.encode_prompt(
            list(prompts), do_classifier_free_guidance=False, max_sequence_length=length, device=self.device
        )
        return {"text": text, "mask": mask}

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        frames, height, width = self.grid
        space = self.pipe.vae_spatial_compression_ratio
        rate = self.settings.frame_rate or FRAME_RATE
        out: Tensor = self.denoiser(
            hidden_states=x_t,
            encoder_hidden_states=condition["text"].to(x_t.dtype),
            timestep=self.told(t),
            encoder_attention_mask=condition["mask"],
            num_frames=frames,
            height=height,
            width=width,
            rope_interpolation_scale=(self.pipe.vae_temporal_compression_ratio / rate, space, space),
            return_dict=False,
        )[0]
        return out

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        vae, config = self.vae, self.config
        unpacked = self.pipe._unpack_latents(latents, *self.grid, config.patch_size, config.patch_size_t)
        scaled = self.pipe._denormalize_latents(unpacked, vae.latents_mean, vae.latents_std, vae.config.scaling_factor)
        time = scaled.new_zeros(len(scaled)) if vae.config.timestep_conditioning else None
        return to_clips(vae.decode(self.decoder_input(scaled), time, return_dict=False)[0])
