"""The video teacher: a small Wan transformer and a CLIP text encoder, trained together on clips of digits.

Rectified flow (Liu et al. 2022, arXiv 2209.03003): ``x_t = (1 - t) x0 + t eps``, the network predicts ``eps - x0``;
times are logit-normal as in Stable Diffusion 3 (Esser et al. 2024, arXiv 2403.03206), one in five uniform.
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
from bench.tiny.captions import DIGIT_TEMPLATES, DIGITS, clip_captions
from bench.tiny.digit_clips import draw_clips
from bench.tiny.text_to_image import build_text_encoder
from bench.tiny.tokens import build_tokenizer, tokenize
from bench.tiny.training import How, Progress, train

WIDTH: Final = 64  # of the text encoder


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters; the defaults are those of the shipped model."""

    plan: Plan = field(default_factory=lambda: Plan(steps=12000, rate=2e-3, batch=64, warm_up=300, decay=0.999))
    dropped: float = 0.1  # share of clips trained without a caption
    uniform: float = 0.2  # share of times drawn evenly
    broad: int = 2834  # first steps, on all digits and paths


def build_transformer() -> nn.Module:
    """The untrained transformer: 64 tokens of 2 frames x 4 x 4 pixels."""
    transformer: nn.Module = require("diffusers", "diffusers").WanTransformer3DModel(
        patch_size=(2, 4, 4),
        num_attention_heads=3,
        attention_head_dim=32,
        in_channels=1,
        out_channels=1,
        text_dim=WIDTH,
        freq_dim=64,
        ffn_dim=256,
        num_layers=4,
        rope_max_seq_len=64,
    )
    return transformer


def draw_times(count: int, uniform: float, generator: Generator) -> Tensor:
    """(count,) in (0, 1): logit-normal, a share of them uniform."""
    time = torch.randn(count, generator=generator).sigmoid()
    even = torch.rand(count, generator=generator)
    return torch.where(torch.rand(count, generator=generator) < uniform, even, time)


def train_video(
    *, seed: int, recipe: Recipe | None = None, progress: Progress = ignore, checkpoint: Path | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train transformer and text encoder.

    Returns:
        The parts of the pipeline (``transformer``, ``text_encoder``, ``tokenizer``) and the training record.
    """
    recipe = recipe or Recipe()
    tokenizer = build_tokenizer(clip_captions())
    build = {"transformer": build_transformer, "text_encoder": lambda: build_text_encoder(tokenizer, WIDTH)}
    both = nn.ModuleDict({name: seeded(make, seed) for name, make in build.items()})
    tokens = tokenize(tokenizer, (*clip_captions(), ""))

    def loss(generator: Generator, step: int) -> Tensor:
        count = recipe.plan.batch
        x0, digit, _ = draw_clips(count, generator, broad=step < recipe.broad)
        caption = digit + len(DIGITS) * torch.randint(len(DIGIT_TEMPLATES), (count,), generator=generator)
        caption[torch.rand(count, generator=generator) < recipe.dropped] = len(tokens) - 1
        t = draw_times(count, recipe.uniform, generator)
        noise = torch.randn(x0.shape, generator=generator)
        noisy = torch.lerp(x0, noise, t.view(-1, 1, 1, 1, 1))
        states = both["text_encoder"](tokens).last_hidden_state[caption]
        output = both["transformer"](noisy, 1000 * t, states).sample
        return F.mse_loss(output.float(), noise - x0)

    state, run = train(both, loss, recipe.plan, How(seed, progress, checkpoint))
    both.load_state_dict(state)
    both.eval().requires_grad_(False)
    record = {"data": "moving-digits", "seed": seed, "recipe": asdict(recipe), "run": run}
    record["parameters"] = {name: sum(p.numel() for p in part.parameters()) for name, part in both.items()}
    return {**dict(both.items()), "tokenizer": tokenizer}, record
