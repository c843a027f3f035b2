"""CogVideoX 1.0 and 1.5 (Yang et al. 2024, arXiv 2408.06072).

Latents are (F, C, h, w), frames first. CogVideoX 1.5 patches time too: the number of latent frames is padded to a
multiple of its patch, and the padding, which comes first, is cut before decoding. ``use_dynamic_cfg`` of the pipeline's
call, off by default, is not offered.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.errors import UsageError
from bench.pipelines.base import Condition
from bench.pipelines.transformer import TransformerPipeline, to_clips

PROMPT_TOKENS = 226


class CogVideoX(TransformerPipeline):
    """A video transformer with rotary embeddings, in v-prediction with zero terminal SNR."""

    classes = ("CogVideoXPipeline",)
    default_guidance = 6.0
    video = True

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the frames."""
        factor = self.pipe.vae_scale_factor_spatial
        default = (self.config.sample_height * factor, self.config.sample_width * factor)
        size = self.size(default, max(8, factor * self.config.patch_size))
        if self.config.patch_size_t is not None and (size[0] > default[0] or size[1] > default[1]):
            raise UsageError(f"this CogVideoX makes at most {default[0]}x{default[1]} pixels, not {size[0]}x{size[1]}")
        return size

    @property
    def frames(self) -> tuple[int, int]:
        """Latent frames of the clip, and those that pad them."""
        found = self.latent_frames(self.config.sample_frames, self.pipe.vae_scale_factor_temporal)
        return found, -found % (self.config.patch_size_t or 1)

    @property
    def shape(self) -> tuple[int, ...]:
        height, width = (side // self.pipe.vae_scale_factor_spatial for side in self.pixels)
        return (sum(self.frames), self.config.in_channels, height, width)

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Condition:
        length = self.settings.max_sequence_length or PROMPT_TOKENS
        text, _ = self.pipe.encode_prompt(
            list(prompts), do_classifier_free_guidance=False, max_sequence_length=length, device=self.device
        )
        return {"text": text}

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        rotary = None
        if self.config.use_rotary_positional_embeddings:
            rotary = self.pipe._prepare_rotary_positional_embeddings(*self.pixels, x_t.shape[1], x_t.device)
        out: Tensor = self.denoiser(
            hidden_states=x_t,
            encoder_hidden_states=condition["text"].to(x_t.dtype),
            timestep=t,
            image_rotary_emb=rotary,
            return_dict=False,
        )[0]
        return out

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        _, padding = self.frames
        return to_clips(self.pipe.decode_latents(self.decoder_input(latents)[:, padding:]))
