"""Tiny random pipelines of the video classes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from tiny_text import (
    TEXT_WIDTH,
    clip_encoder,
    clip_tokenizer,
    flow_scheduler,
    kl_vae,
    llama_encoder,
    pieces_tokenizer,
    seeded,
    t5_encoder,
    t5_tokenizer,
    umt5_encoder,
)


def animatediff() -> Any:
    """AnimateDiff: Stable Diffusion's U-Net with a motion adapter, merged by the pipeline itself."""
    from diffusers import AnimateDiffPipeline, DDIMScheduler, MotionAdapter, UNet2DConditionModel

    def build() -> Any:
        unet = UNet2DConditionModel(
            block_out_channels=(8, 8),
            layers_per_block=1,
            sample_size=8,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=16,
            norm_num_groups=2,
            attention_head_dim=2,
        ).eval()
        adapter = MotionAdapter(
            block_out_channels=(8, 8),
            motion_layers_per_block=1,
            motion_norm_num_groups=2,
            motion_num_attention_heads=2,
        ).eval()
        scheduler = DDIMScheduler(beta_schedule="linear", clip_sample=False, timestep_spacing="trailing")
        return AnimateDiffPipeline(kl_vae(), clip_encoder(), clip_tokenizer(), unet, adapter, scheduler)

    return seeded(build)


def cogvideox(patch_size_t: int | None = None, **options: Any) -> Any:
    """CogVideoX with rotary embeddings; ``patch_size_t`` makes it CogVideoX 1.5."""
    from diffusers import (
        AutoencoderKLCogVideoX,
        CogVideoXDDIMScheduler,
        CogVideoXPipeline,
        CogVideoXTransformer3DModel,
    )

    def build() -> Any:
        transformer = CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=4,
            out_channels=4,
            time_embed_dim=8,
            text_embed_dim=TEXT_WIDTH,
            num_layers=1,
            sample_width=6,
            sample_height=4,
            sample_frames=9,
            patch_size_t=patch_size_t,
            patch_bias=patch_size_t is None,
            max_text_seq_length=226,
            **{"use_rotary_positional_embeddings": True, **options},
        ).eval()
        vae = AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            scaling_factor=0.7,
        ).eval()
        scheduler = CogVideoXDDIMScheduler(
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            snr_shift_scale=1.0,
            clip_sample=False,
            timestep_spacing="trailing",
        )
        return CogVideoXPipeline(t5_tokenizer(226), t5_encoder(), vae, transformer, scheduler)

    return seeded(build)


def wan(scheduler: Any = None, stages: int = 1, **options: Any) -> Any:
    """Wan 2.1; ``stages=2`` with ``boundary_ratio`` is Wan 2.2's pair of networks."""
    from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel

    def transformer() -> Any:
        return WanTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=16,
            out_channels=16,
            text_dim=TEXT_WIDTH,
            freq_dim=16,
            ffn_dim=16,
            num_layers=1,
            rope_max_seq_len=32,
        ).eval()

    def build() -> Any:
        vae = AutoencoderKLWan(
            base_dim=3,
            z_dim=16,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
        ).eval()
        flow = scheduler or flow_scheduler(shift=3.0)
        networks = [transformer() for _ in range(stages)]
        second = networks[1] if stages == 2 else None
        return WanPipeline(t5_tokenizer(512), umt5_encoder(), vae, flow, networks[0], second, **options)

    return seeded(build)


def ltx_vae(**options: Any) -> Any:
    from diffusers import AutoencoderKLLTXVideo

    vae = AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        patch_size=1,
        **options,
    ).eval()
    vae.latents_mean.copy_(torch.linspace(-1, 1, 8))
    vae.latents_std.copy_(torch.linspace(0.5, 2, 8))
    return vae


def ltx(**scheduler: Any) -> Any:
    """LTX-Video with latent statistics that are not 0 and 1."""
    from diffusers import LTXPipeline, LTXVideoTransformer3DModel

    def build() -> Any:
        transformer = LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            num_layers=1,
            caption_channels=TEXT_WIDTH,
        ).eval()
        return LTXPipeline(flow_scheduler(**scheduler), ltx_vae(), t5_encoder(), t5_tokenizer(128), transformer)

    return seeded(build)


def hunyuan_video(texts: tuple[str, ...], **scheduler: Any) -> Any:
    """HunyuanVideo; its tokenizer knows these texts."""
    from diffusers import AutoencoderKLHunyuanVideo, HunyuanVideoPipeline, HunyuanVideoTransformer3DModel

    def build() -> Any:
        tokenizer = pieces_tokenizer(texts)
        transformer = HunyuanVideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=10,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            text_embed_dim=16,
            pooled_projection_dim=16,
            rope_axes_dim=(2, 4, 4),
        ).eval()
        vae = AutoencoderKLHunyuanVideo(
            latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4
        ).eval()
        return HunyuanVideoPipeline(
            text_encoder=llama_encoder(len(tokenizer)),
            tokenizer=tokenizer,
            transformer=transformer,
            vae=vae,
            scheduler=flow_scheduler(**{"shift": 7.0, **scheduler}),
            text_encoder_2=clip_encoder(length=77),
            tokenizer_2=clip_tokenizer(77),
        )

    return seeded(build)


def text_to_video() -> Any:
    """ModelScope's text-to-video."""
    from diffusers import DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel

    def build() -> Any:
        unet = UNet3DConditionModel(
            block_out_channels=(8, 8),
            layers_per_block=1,
            sample_size=8,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            cross_attention_dim=16,
            attention_head_dim=4,
            norm_num_groups=2,
        ).eval()
        scheduler = DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, timestep_spacing="trailing")
        return TextToVideoSDPipeline(kl_vae(), clip_encoder(), clip_tokenizer(), unet, scheduler)

    return seeded(build)
