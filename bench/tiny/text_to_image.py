"""The text-to-image teacher: a conditional U-Net and a small CLIP text encoder, trained together, in pixel space.

v-prediction (Salimans and Ho 2022, arXiv 2202.00512) on Stable Diffusion's noise schedule; the caption is dropped for
one picture in ten (Ho and Salimans 2022, arXiv 2207.12598).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from bench.features.base import require
from bench.nets.optimise import Plan, ignore, seeded
from bench.tiny.captions import CIFAR_CLASSES, CIFAR_TEMPLATES, image_captions
from bench.tiny.cifar import SIZE, Images
from bench.tiny.schedules import alpha_bars
from bench.tiny.tokens import CONTEXT, build_tokenizer, tokenize
from bench.tiny.training import How, Progress, train

WIDTH: Final = 64  # of the text encoder


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters; the defaults are those of the shipped model."""

    plan: Plan = field(default_factory=lambda: Plan(steps=4000, rate=1e-3, batch=64, decay=0.999))
    dropped: float = 0.1  # share of pictures trained without a caption


def build_unet() -> nn.Module:
    """The untrained U-Net."""
    unet: nn.Module = require("diffusers", "diffusers").UNet2DConditionModel(
        sample_size=SIZE,
        in_channels=3,
        out_channels=3,
        block_out_channels=(32, 48, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
    )
    return unet


def build_text_encoder(tokenizer: Any, width: int = WIDTH) -> nn.Module:
    """The untrained text encoder for this vocabulary."""
    transformers = require("transformers", "diffusers")
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    encoder: nn.Module = transformers.CLIPTextModel(config)
    return encoder


def train_text_to_image(
    images: Images,
    *,
    seed: int,
    recipe: Recipe | None = None,
    progress: Progress = ignore,
    checkpoint: Path | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train U-Net and text encoder on all images, mirrored at random.

    Returns:
        The parts of the pipeline (``unet``, ``text_encoder``, ``tokenizer``) and the training record.
    """
    recipe = recipe or Recipe()
    tokenizer = build_tokenizer(image_captions())
    build = {"unet": build_unet, "text_encoder": lambda: build_text_encoder(tokenizer)}
    both = nn.ModuleDict({name: seeded(make, seed) for name, make in build.items()})
    tokens = tokenize(tokenizer, (*image_captions(), ""))
    bars, pixels, label = alpha_bars(), images.scaled(), images.label

    def loss(generator: Generator, _: int) -> Tensor:
        count = recipe.plan.batch
        chosen = torch.randint(len(pixels), (count,), generator=generator)
        x0 = mirror(pixels[chosen], generator)
        caption = label[chosen] + len(CIFAR_CLASSES) * torch.randint(
            len(CIFAR_TEMPLATES), (count,), generator=generator
        )
        caption[torch.rand(count, generator=generator) < recipe.dropped] = len(tokens) - 1
        t = torch.randint(len(bars), (count,), generator=generator)
        a, s = (part[t].float().view(-1, 1, 1, 1) for part in (bars.sqrt(), (1 - bars).sqrt()))
        noise = torch.randn(x0.shape, generator=generator)
        noisy = (a * x0 + s * noise).contiguous(memory_format=torch.channels_last)
        states = both["text_encoder"](tokens).last_hidden_state[caption]
        output = both["unet"](noisy, t, encoder_hidden_states=states).sample
        return F.mse_loss(output.float(), a * noise - s * x0)

    state, run = train(both, loss, recipe.plan, How(seed, progress, checkpoint, half=True))
    both.load_state_dict(state)
    both.eval().requires_grad_(False)
    record = {"data": images.name, "data_sha256": images.sha256, "seed": seed, "recipe": asdict(recipe), "run": run}
    record["parameters"] = {name: sum(p.numel() for p in part.parameters()) for name, part in both.items()}
    return {**dict(both.items()), "tokenizer": tokenizer}, record


def mirror(images: Tensor, generator: Generator) -> Tensor:
    """Half of the pictures, left and right exchanged."""
    chosen = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(3), images)
