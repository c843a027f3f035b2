"""The resizes of the field, each as its reference implementation does it; they are not interchangeable.

``clean`` is float bicubic with antialiasing, a channel at a time, without rounding (clean-fid, Parmar et al. 2022,
arXiv 2104.11222). ``pil`` is Pillow's own on uint8, which rounds. ``legacy``, TensorFlow 1's bilinear without
antialiasing, is in the Inception network's own file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

if TYPE_CHECKING:
    from PIL.Image import Image

THREADS = 8  # Pillow lets go of the interpreter while it resizes


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1), thread_name_prefix="resize")


def _clean(size: int, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    from PIL import Image

    channels = [
        Image.fromarray(channel.astype(np.float32)).resize((size, size), resample=Image.Resampling.BICUBIC)
        for channel in pixels
    ]
    return np.asarray([np.asarray(channel).clip(0, 255) for channel in channels], np.float32)


def clean(images: Tensor, size: int) -> Tensor:
    """(B, 3, H, W) uint8 to (B, 3, size, size) float32 in [0, 255], not rounded."""
    found = _pool().map(partial(_clean, size), images.numpy())
    return torch.from_numpy(np.stack(list(found)))


def pictures(images: Tensor) -> list[Image]:
    """(B, 3, H, W) uint8 as Pillow's images."""
    from PIL import Image

    return [Image.fromarray(pixels) for pixels in images.permute(0, 2, 3, 1).contiguous().numpy()]


def transformed(images: Tensor, transform: Callable[[Image], Tensor]) -> Tensor:
    """(B, 3, h, w): a transform of Pillow's images applied to each."""
    return torch.stack(list(_pool().map(transform, pictures(images))))


def pil_bicubic(size: int, picture: Image) -> Tensor:
    """(3, size, size) float32 in [0, 1]: Pillow's bicubic on uint8, to a square whatever the proportions."""
    from PIL import Image

    resized = picture.resize((size, size), resample=Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(resized).copy()).permute(2, 0, 1).float() / 255


def centre_square(picture: Image) -> Image:
    """The largest square in the middle; an odd remainder leaves the extra pixel on the right and below."""
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def padded(size: int, picture: Image) -> Tensor:
    """(3, size, size) float32: all of the picture, by PyTorch's antialiased bicubic on floats, black beside it.

    As ``ResizeMaxSize`` in the code of HPS v2 with torchvision 0.17 or later; earlier versions had no antialiasing.
    Values may lie a little outside [0, 1].
    """
    found = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255
    height, width = found.shape[1:]
    high, wide = (round(side * size / max(height, width)) for side in (height, width))
    if (high, wide) != (height, width):
        found = interpolate(found[None], (high, wide), mode="bicubic", antialias=True)[0]
    top, left = (size - high) // 2, (size - wide) // 2
    return pad(found, (left, size - wide - left, top, size - high - top))


def normalised(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Images (B, 3, h, w) in [0, 1], standardised channel by channel."""
    return (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
