"""Tiny random pipelines of the transformer and video classes: a few thousand parameters each, no network needed.

Every builder returns a diffusers pipeline in float32 on the CPU; ``save_pretrained`` makes a repository of it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from tiny_text import (
    TEXT_WIDTH,
    clip_encoder,
    clip_tokenizer,
    flow_scheduler,
    gemma_encoder,
    gemma_tokenizer,
    kl_vae,
    seeded,
    t5_encoder,
    t5_tokenizer,
)
from tiny_video import (
    animatediff,
    cogvideox,
    hunyuan_video,
    ltx,
    ltx_vae,
    text_to_video,
    wan,
)

__all__ = [
    "animatediff",
    "cogvideox",
    "flux",
    "hunyuan_video",
    "ltx",
    "ltx_vae",
    "pixart",
    "sana",
    "stable_diffusion_3",
    "text_to_video",
    "wan",
]


def pixart(sample_size: int = 128) -> Any:
    """PixArt-alpha; ``sample_size`` 128 is the size at which resolution and aspect ratio are conditions."""
    from diffusers import DPMSolverMultistepScheduler, PixArtAlphaPipeline, PixArtTransformer2DModel

    def build() -> Any:
        transformer = PixArtTransformer2DModel(
            sample_size=sample_size,
            num_layers=2,
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=4,
            out_channels=8,
            cross_attention_dim=24,
            caption_channels=TEXT_WIDTH,
        ).eval()
        scheduler = DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear")
        return PixArtAlphaPipeline(t5_tokenizer(120), t5_encoder(), kl_vae(), transformer, scheduler)

    return seeded(build)


def stable_diffusion_3(**scheduler: Any) -> Any:
    """SD3 with its three text encoders."""
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    def build() -> Any:
        transformer = SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=TEXT_WIDTH,
            caption_projection_dim=16,
            pooled_projection_dim=2 * TEXT_WIDTH,
            qk_norm="rms_norm",
        ).eval()
        return StableDiffusion3Pipeline(
            transformer=transformer,
            scheduler=flow_scheduler(**{"shift": 3.0, **scheduler}),
            vae=kl_vae(scaling_factor=1.5305, shift_factor=0.0609),
            text_encoder=clip_encoder(projection=True),
            tokenizer=clip_tokenizer(),
            text_encoder_2=clip_encoder(projection=True),
            tokenizer_2=clip_tokenizer(),
            text_encoder_3=t5_encoder(),
            tokenizer_3=t5_tokenizer(),
        )

    return seeded(build)


def flux(guidance_embeds: bool = True, **scheduler: Any) -> Any:
    """FLUX.1-dev's layout; without ``guidance_embeds`` FLUX.1-schnell's."""
    from diffusers import FluxPipeline, FluxTransformer2DModel

    def build() -> Any:
        transformer = FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=TEXT_WIDTH,
            pooled_projection_dim=16,
            guidance_embeds=guidance_embeds,
            axes_dims_rope=(2, 2, 4),
        ).eval()
        return FluxPipeline(
            scheduler=flow_scheduler(**{"shift": 3.0, "use_dynamic_shifting": guidance_embeds, **scheduler}),
            vae=kl_vae(scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False),
            text_encoder=clip_encoder(),
            tokenizer=clip_tokenizer(),
            text_encoder_2=t5_encoder(),
            tokenizer_2=t5_tokenizer(),
            transformer=transformer,
        )

    return seeded(build)


def sana(scheduler: Any = None, sprint: bool = False) -> Any:
    """SANA, or its student SANA-Sprint."""
    from diffusers import AutoencoderDC, SanaPipeline, SanaSprintPipeline, SanaTransformer2DModel, SCMScheduler

    def build() -> Any:
        vae = AutoencoderDC(
            latent_channels=4,
            attention_head_dim=2,
            encoder_block_types=("ResBlock", "EfficientViTBlock"),
            decoder_block_types=("ResBlock", "EfficientViTBlock"),
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            encoder_qkv_multiscales=((), (5,)),
            decoder_qkv_multiscales=((), (5,)),
            encoder_layers_per_block=(1, 1),
            decoder_layers_per_block=(1, 1),
            downsample_block_type="conv",
            upsample_block_type="interpolate",
            scaling_factor=0.41407,
        ).eval()
        transformer = SanaTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_attention_heads=2,
            attention_head_dim=4,
            num_cross_attention_heads=2,
            cross_attention_head_dim=4,
            cross_attention_dim=8,
            caption_channels=8,
            sample_size=32,
            timestep_scale=0.5,
            guidance_embeds=sprint,
            qk_norm="rms_norm_across_heads" if sprint else None,
        ).eval()
        text = gemma_tokenizer(), gemma_encoder()
        if sprint:
            return SanaSprintPipeline(*text, vae, transformer, SCMScheduler())
        return SanaPipeline(*text, vae, transformer, scheduler or flow_scheduler(shift=3.0))

    return seeded(build)
