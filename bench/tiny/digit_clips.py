"""Clips of scikit-learn's 8x8 digits that bounce in a 16x16 box.

The data of the suite: the first twenty digits, two of each class, start at any whole pixel and move by one or two
pixels a frame along each axis: 20 x 81 x 16 = 25,920 clips. ``broad`` clips show any of the 1,797 digits, start and
move in any direction, also between pixels: the feature network learns from them, and the teacher before it specialises.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

FRAMES: Final = 8
SIZE: Final = 16
FPS: Final = 8
ROOM: Final = 8.0  # pixels that the 8x8 digit can move along each axis
DIGITS: Final = 20  # of scikit-learn's 1,797
STEPS: Final = (-2.0, -1.0, 1.0, 2.0)  # pixels per frame along each axis
BROAD_SPEEDS: Final = (0.5, 2.5)  # pixels per frame


@cache
def digit_images() -> tuple[Tensor, Tensor]:
    """All digits, (1797, 1, 8, 8) float32 with ink 1 on 0, and their classes (1797,) int64; 0-9 twice first."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels.astype(np.float32)).view(-1, 1, 8, 8) / 16
    return images, torch.from_numpy(labels.astype(np.int64))


def reflect(position: Tensor) -> Tensor:
    """A straight line folded into [0, ROOM]: what a body that bounces elastically does."""
    folded = position.remainder(2 * ROOM)
    return torch.minimum(folded, 2 * ROOM - folded)


def draw_paths(count: int, generator: Generator) -> Tensor:
    """(count, FRAMES, 2) corner positions in pixels: start and velocity uniform over whole pixels, walls reflect."""
    begin = torch.randint(int(ROOM) + 1, (count, 1, 2), generator=generator).float()
    velocity = torch.tensor(STEPS)[torch.randint(len(STEPS), (count, 1, 2), generator=generator)]
    return reflect(begin + velocity * torch.arange(FRAMES)[None, :, None])


def draw_broad_paths(count: int, generator: Generator) -> Tensor:
    """The same with uniform start, direction and speed."""
    begin = torch.rand(count, 1, 2, generator=generator) * ROOM
    angle = torch.rand(count, generator=generator) * 2 * torch.pi
    speed = BROAD_SPEEDS[0] + torch.rand(count, generator=generator) * (BROAD_SPEEDS[1] - BROAD_SPEEDS[0])
    velocity = torch.stack([angle.cos(), angle.sin()], dim=1) * speed[:, None]
    return reflect(begin + velocity[:, None] * torch.arange(FRAMES)[None, :, None])


def render(digits: Tensor, path: Tensor) -> Tensor:
    """Draw each digit along its path, between pixels by bilinear interpolation.

    Args:
        digits: (B, 1, 8, 8) ink in [0, 1].
        path: (B, F, 2) corner (row, column) in pixels.

    Returns:
        (B, 1, F, 16, 16) in [-1, 1], black ground.
    """
    count, frames = path.shape[:2]
    pixel = torch.arange(SIZE, dtype=torch.float32)
    row = pixel[None, :, None] - path.reshape(-1, 2)[:, 0, None, None]
    column = pixel[None, None, :] - path.reshape(-1, 2)[:, 1, None, None]
    # pixel p of the digit is at (2 p + 1) / 8 - 1 in grid_sample's coordinates
    across, down = (2 * column + 1) / 8 - 1, (2 * row + 1) / 8 - 1
    shape = (len(across), SIZE, SIZE)
    grid = torch.stack([across.expand(shape), down.expand(shape)], dim=-1)
    source = digits.repeat_interleave(frames, dim=0)
    drawn = F.grid_sample(source, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return drawn.view(count, frames, 1, SIZE, SIZE).transpose(1, 2) * 2 - 1


def draw_clips(count: int, generator: Generator, broad: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """``(clips (count, 1, 8, 16, 16) in [-1, 1], digit (count,) int64, path (count, 8, 2))``."""
    images, labels = digit_images()
    chosen = torch.randint(len(images) if broad else DIGITS, (count,), generator=generator)
    path = (draw_broad_paths if broad else draw_paths)(count, generator)
    return render(images[chosen], path), labels[chosen], path
