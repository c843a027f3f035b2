"""Light augmentation for the classifier. The teacher never sees it."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F


def shift(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Move a random share of the images by -1, 0 or 1 pixel in each direction; black (-1) comes in. (B, C, H, W)"""
    count, _, height, width = images.shape
    padded = F.pad(images, (1, 1, 1, 1), value=-1.0)
    moves = torch.randint(0, 3, (2, count), generator=generator)  # 1 is no move
    moves = torch.where(torch.rand(count, generator=generator) < share, moves, 1)
    rows = moves[0][:, None, None] + torch.arange(height)[None, :, None]  # (B, H, 1)
    columns = moves[1][:, None, None] + torch.arange(width)[None, None, :]  # (B, 1, W)
    which = torch.arange(count)[:, None, None]
    return padded.permute(0, 2, 3, 1)[which, rows, columns].permute(0, 3, 1, 2)


def add_noise(images: Tensor, std: float, generator: Generator) -> Tensor:
    """Add noise to every image, of a standard deviation that is uniform in [0, std]. (B, C, H, W)"""
    scale = std * torch.rand((len(images), 1, 1, 1), generator=generator)
    return images + scale * torch.randn(images.shape, generator=generator)
