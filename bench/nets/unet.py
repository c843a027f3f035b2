"""A small class-conditional U-Net for 8x8 images.

    x ── in ─ block ─────────────── skip ─────────────── block ─ out ─>   width[0] at H x W
                 └─ down ─ blocks ─ block+attention ─ blocks ─ up ─┘      width[1] at H/2 x W/2

Most of the width sits at the lower resolution, where a 3x3 convolution is four times cheaper.
Residual blocks with scale-and-shift conditioning: Dhariwal & Nichol 2021 (arXiv 2105.05233, App. A).
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.reuse import Memory, Part, tensor

GROUPS: Final = 8
FREQUENCIES: Final = 16


@dataclass(frozen=True)
class UNetConfig:
    """All that is needed to rebuild the network; every field is a JSON value (`widths` as a list)."""

    channels: int = 1
    classes: int = 10  # label `classes` is the null label of classifier-free guidance
    width: int = 32  # at full resolution
    inner_width: int = 64  # at half resolution
    inner_blocks: int = 5  # residual blocks at half resolution
    embedding: int = 128


class NoiseEmbedding(nn.Module):
    """sin and cos of c_noise at fixed, log-spaced frequencies, then two linear layers."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        # c_noise = ln(sigma)/4 spans about 2.7: from a quarter of a period to eight periods over it.
        exponents = torch.linspace(math.log(0.1), math.log(3.0), FREQUENCIES)
        self.register_buffer("frequencies", 2 * math.pi * exponents.exp(), persistent=False)
        self.inner = nn.Linear(2 * FREQUENCIES, width)
        self.outer = nn.Linear(width, width)

    def forward(self, noise: Tensor) -> Tensor:
        """noise (B,) -> (B, E)."""
        phase = noise[:, None] * self.frequencies  # (B, FREQUENCIES)
        waves = torch.cat([phase.sin(), phase.cos()], dim=1)
        out: Tensor = self.outer(F.silu(self.inner(waves)))
        return out


class ResidualBlock(nn.Module):
    """x + conv(silu(affine(conv(silu(norm x)), embedding))); the last convolution starts at zero."""

    def __init__(self, width_in: int, width: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, width_in)
        self.conv1 = nn.Conv2d(width_in, width, 3, padding=1)
        self.affine = nn.Linear(embedding, 2 * width)
        self.norm2 = nn.GroupNorm(GROUPS, width, affine=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.skip = nn.Conv2d(width_in, width, 1) if width_in != width else nn.Identity()
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (B, width_in, H, W), embedding (B, E) -> (B, width, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))  # (B, width, H, W)
        scale, shift = self.affine(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.conv2(F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale)))
        out: Tensor = self.skip(x) + h
        return out


class Attention(nn.Module):
    """Single-head self-attention over the pixels of a small map, added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> the same shape."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, H*W, C)
        q, k, v = self.qkv(tokens).chunk(3, dim=2)
        mixed: Tensor = self.out(F.scaled_dot_product_attention(q, k, v))
        return x + mixed.transpose(1, 2).reshape(x.shape)


class UNet(nn.Module):
    """F(x, c_noise, label): the raw network inside the preconditioning of Karras et al. 2022, Eq. 7."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        width, inner, embedding = config.width, config.inner_width, config.embedding
        self.noise = NoiseEmbedding(embedding)
        self.label = nn.Embedding(config.classes + 1, embedding)
        self.first = nn.Conv2d(config.channels, width, 3, padding=1)
        self.before = ResidualBlock(width, width, embedding)
        self.down = nn.Conv2d(width, inner, 2, stride=2)
        self.inner = nn.ModuleList(ResidualBlock(inner, inner, embedding) for _ in range(config.inner_blocks))
        self.attention = Attention(inner)
        self.up = nn.ConvTranspose2d(inner, width, 2, stride=2)
        self.after = ResidualBlock(2 * width, width, embedding)
        self.norm = nn.GroupNorm(GROUPS, width)
        self.last = nn.Conv2d(width, config.channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, noise: Tensor, label: Tensor) -> Tensor:
        """x (B, C, H, W), noise (B,) = c_noise, label (B,) int64 -> (B, C, H, W)."""
        return self.partial(x, noise, label, {}, "full")

    def partial(self, x: Tensor, t: Tensor, label: Tensor, memory: Memory, part: Part) -> Tensor:
        """See ``bench.reuse.Partial``; t is c_noise."""
        embedding = F.silu(self.noise(t) + self.label(label))  # (B, E)
        # (B, width, H, W)
        skip = tensor(memory, "skip") if part == "encoder" else self.before(self.first(x), embedding)
        if part == "deep":
            deep = tensor(memory, "deep")
        else:
            # (B, inner_width, H/2, W/2)
            middle = tensor(memory, "middle") if part == "encoder" else self._encode(skip, embedding)
            deep = self._decode(middle, embedding)  # (B, width, H, W)
            if part == "full":
                memory.update(skip=skip, middle=middle, deep=deep)
        h = self.after(torch.cat([deep, skip], dim=1), embedding)
        out: Tensor = self.last(F.silu(self.norm(h)))
        return out

    @property
    def _middle(self) -> int:
        """How many inner blocks come before the attention, which ends the encoder."""
        return (len(self.inner) - 1) // 2 + 1

    def _encode(self, skip: Tensor, embedding: Tensor) -> Tensor:
        h = self.down(skip)
        for block in self.inner[: self._middle]:
            h = block(h, embedding)
        out: Tensor = self.attention(h)
        return out

    def _decode(self, middle: Tensor, embedding: Tensor) -> Tensor:
        h = middle
        for block in self.inner[self._middle :]:
            h = block(h, embedding)
        out: Tensor = self.up(h)
        return out
