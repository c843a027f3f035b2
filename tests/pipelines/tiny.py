"""Tiny random pipelines of the U-Net families, built and saved where a test says; a few thousand parameters each."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

LENGTH = 12  # tokens of the tiny text encoders


@contextmanager
def quiet() -> Iterator[None]:
    """Warnings of third parties are not ours to fix."""
    import diffusers
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert diffusers.__version__
        yield
    logging.set_verbosity(before)


def seeded(seed: int = 0) -> None:
    """Random weights that are the same in every run (of the tests' own process only)."""
    torch.manual_seed(seed)


def tokenizer() -> Any:
    """A CLIP tokenizer of single letters."""
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", "!", *letters, *(letter + "</w>" for letter in letters)]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=LENGTH)


def text_encoder(width: int = 16, projection: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=60,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        projection_dim=width,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    seeded(1 + projection)
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()


def vae(channels: int = 4, scaling_factor: float = 0.18215, **options: Any) -> Any:
    from diffusers import AutoencoderKL

    seeded(3)
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=32,
        scaling_factor=scaling_factor,
        **options,
    ).eval()


def unet_text(cross: int = 16, channels: int = 4, size: int = 8, **options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    seeded(4)
    kinds: dict[str, Any] = {
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "sample_size": size,
        "in_channels": channels,
        "out_channels": channels,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": cross,
        "attention_head_dim": 4,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**{**kinds, **options}).eval()


def unet_plain(channels: int = 3, size: int = 8, **options: Any) -> Any:
    from diffusers import UNet2DModel

    seeded(5)
    kinds: dict[str, Any] = {
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "sample_size": size,
        "in_channels": channels,
        "out_channels": channels,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": 4,
        "norm_num_groups": 4,
    }
    return UNet2DModel(**{**kinds, **options}).eval()


SD_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def scheduler(name: str = "DDIMScheduler", **options: Any) -> Any:
    """A scheduler whose grid is the process's even one (trailing) and ends in clean data, unless told otherwise."""
    import diffusers

    spacing = {"timestep_spacing": "trailing"}
    clean = {"clip_sample": False, "set_alpha_to_one": True} if name == "DDIMScheduler" else {}
    return getattr(diffusers, name)(**{**SD_BETAS, **spacing, **clean, **options})


def stable_diffusion(**options: Any) -> Any:
    """SD 1.5 in small; ``options`` go to the scheduler."""
    from diffusers import StableDiffusionPipeline

    with quiet():
        return StableDiffusionPipeline(
            vae=vae(),
            text_encoder=text_encoder(),
            tokenizer=tokenizer(),
            unet=unet_text(),
            scheduler=scheduler(**options),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def save(pipe: Any, folder: Path) -> Path:
    """The pipeline in diffusers' layout."""
    with quiet():
        pipe.save_pretrained(folder)
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == type(pipe).__name__
    return folder


def stable_diffusion_xl(**options: Any) -> Any:
    """SDXL in small: two encoders, 6 numbers of size and crop; ``options`` go to the scheduler."""
    from diffusers import StableDiffusionXLPipeline

    with quiet():
        return StableDiffusionXLPipeline(
            vae=vae(scaling_factor=0.13025),
            text_encoder=text_encoder(16),
            text_encoder_2=text_encoder(24, projection=True),
            tokenizer=tokenizer(),
            tokenizer_2=tokenizer(),
            unet=unet_text(
                cross=40,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=6 * 8 + 24,
                transformer_layers_per_block=1,
                use_linear_projection=True,
            ),
            scheduler=scheduler(**options),
            add_watermarker=False,
        )


def pixel_text(**options: Any) -> Any:
    """Text-to-image without an autoencoder."""
    from bench.pipelines.pixel_pipeline import PixelTextPipeline

    with quiet():
        return PixelTextPipeline(unet_text(channels=3), text_encoder(), tokenizer(), scheduler(**options))


def ddpm(pipeline: str = "DDIMPipeline", **options: Any) -> Any:
    """Unconditional, in pixels."""
    import diffusers

    with quiet():
        return getattr(diffusers, pipeline)(unet=unet_plain(), scheduler=scheduler(**options))


def vq() -> Any:
    from diffusers import VQModel

    seeded(6)
    return VQModel(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=3,
        norm_num_groups=4,
        num_vq_embeddings=16,
        sample_size=16,
    ).eval()


def latent_unconditional(**options: Any) -> Any:
    from diffusers import LDMPipeline

    with quiet():
        return LDMPipeline(vqvae=vq(), unet=unet_plain(), scheduler=scheduler(**options))


def latent_text(**options: Any) -> Any:
    """LDM's text-to-image with its own BERT; that pipeline takes 8 pixels for a latent, and so does this VAE."""
    from diffusers import AutoencoderKL, LDMTextToImagePipeline
    from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig, LDMBertModel

    with quiet():
        seeded(7)
        config = LDMBertConfig(
            vocab_size=60,
            d_model=16,
            encoder_layers=2,
            encoder_ffn_dim=16,
            encoder_attention_heads=2,
            head_dim=8,
            max_position_embeddings=77,
        )
        kinds = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
        deep = AutoencoderKL(
            block_out_channels=(4,) * 4,
            down_block_types=kinds[0],
            up_block_types=kinds[1],
            latent_channels=4,
            norm_num_groups=2,
        )
        return LDMTextToImagePipeline(
            vqvae=deep.eval(),
            bert=LDMBertModel(config).eval(),
            tokenizer=tokenizer(),
            unet=unet_text(),
            scheduler=scheduler(**options),
        )


def dit(**options: Any) -> Any:
    """DiT with learned variance and 1000 classes, as its pipeline has the null class written out."""
    from diffusers import DiTPipeline, DiTTransformer2DModel

    with quiet():
        seeded(8)
        transformer = DiTTransformer2DModel(
            sample_size=8,
            num_layers=2,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=2,
            in_channels=4,
            out_channels=8,
            attention_bias=True,
            activation_fn="gelu-approximate",
            num_embeds_ada_norm=1000,
            norm_type="ada_norm_zero",
            norm_elementwise_affine=False,
        )
        names = {i: f"class {i}, also known as {i}th" for i in range(1000)}
        return DiTPipeline(transformer.eval(), vae(), scheduler(**options), id2label=names)


def consistency(classes: int | None = 10) -> Any:
    from diffusers import CMStochasticIterativeScheduler, ConsistencyModelPipeline

    with quiet():
        unet = unet_plain(num_class_embeds=classes, time_embedding_type="positional")
        return ConsistencyModelPipeline(unet, CMStochasticIterativeScheduler(num_train_timesteps=40))
