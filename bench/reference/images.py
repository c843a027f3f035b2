"""From an encoded image to the uint8 square that an extractor sees; every way of doing it has an id.

``none``            as it is.
``center-lanczos``  the largest centred square, by Pillow's Lanczos filter (EDM's ``center-crop``).
``center-bicubic``  the same by Pillow's bicubic filter.
``center-adm``      halved by a box filter while the shorter side is twice the target or more, then bicubic and cropped
                    (guided-diffusion, arXiv 2105.05233; EDM's ``center-crop-dhariwal``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.errors import AssetError, UsageError, unknown

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling

Pixels = NDArray[np.uint8]
"""(H, W, 3)"""


def decode(image: Image) -> Pixels:
    """The pixels (H, W, 3) of an image in RGB; transparency and orientation tags are left out, as others do.

    Raises:
        OSError, ValueError, SyntaxError: what Pillow raises for a damaged file.
    """
    image.load()
    return np.asarray(image.convert("RGB"))


def _square(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def _resized(pixels: Pixels, width: int, height: int, how: Resampling) -> Pixels:
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((width, height), how))


def _center_lanczos(pixels: Pixels, size: int) -> Pixels:
    from PIL.Image import Resampling

    return _resized(_square(pixels), size, size, Resampling.LANCZOS)


def _center_bicubic(pixels: Pixels, size: int) -> Pixels:
    from PIL.Image import Resampling

    return _resized(_square(pixels), size, size, Resampling.BICUBIC)


def _center_adm(pixels: Pixels, size: int) -> Pixels:
    from PIL.Image import Resampling

    while min(pixels.shape[:2]) >= 2 * size:
        pixels = _resized(pixels, pixels.shape[1] // 2, pixels.shape[0] // 2, Resampling.BOX)
    scale = size / min(pixels.shape[:2])
    width, height = round(pixels.shape[1] * scale), round(pixels.shape[0] * scale)
    pixels = _resized(pixels, width, height, Resampling.BICUBIC)
    top, left = (height - size) // 2, (width - size) // 2
    return pixels[top : top + size, left : left + size]


WAYS: dict[str, Callable[[Pixels, int], Pixels]] = {
    "center-lanczos": _center_lanczos,
    "center-bicubic": _center_bicubic,
    "center-adm": _center_adm,
}


class Preparation:
    """One way of preparing images, and the hash of all that have passed through it.

    Args:
        way: its id.
        resolution: of the result; None keeps the sizes as they are, which only ``none`` can.

    Raises:
        UsageError: an unknown way, or one that lacks its resolution.
    """

    def __init__(self, way: str, resolution: int | None) -> None:
        if way != "none" and way not in WAYS:
            raise unknown("preprocessing", way, {"none", *WAYS})
        if way != "none" and resolution is None:
            raise UsageError(f"preprocessing {way} needs a size; add --resolution N")
        self.way = way
        self.resolution = resolution
        self._hash = hashlib.sha256()

    @property
    def content(self) -> str:
        """SHA-256 of sizes and pixels of the images as they came, whatever file held them."""
        return self._hash.hexdigest()

    def __call__(self, name: str, pixels: Pixels) -> Pixels:
        """The image (H, W, 3) as the extractor sees it.

        Raises:
            AssetError: it should have the resolution already, and has not.
        """
        self._hash.update(f"{pixels.shape[0]}x{pixels.shape[1]}:".encode() + pixels.tobytes())
        if self.way != "none" and self.resolution is not None:
            return WAYS[self.way](pixels, self.resolution)
        if self.resolution is not None and pixels.shape[:2] != (self.resolution, self.resolution):
            found = f"{pixels.shape[0]}x{pixels.shape[1]}"
            raise AssetError(
                f"{name} is {found}, not {self.resolution}x{self.resolution}; add --preprocessing center-lanczos, or "
                f"leave --resolution out"
            )
        return pixels
