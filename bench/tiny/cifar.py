"""CIFAR-10 at 16x16 as training data; the images are read where the user has them and are not part of the package."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.errors import UsageError
from bench.features.base import require

SIZE: Final = 16
HELP: Final = (
    "name it in BENCH_CIFAR10: a folder with train.npz (jpeg, offsets, labels), "
    "torchvision:FOLDER for torchvision's copy, or torchvision+download:FOLDER to fetch it there"
)


@dataclass(frozen=True)
class Images:
    """Pictures with their classes.

    Attributes:
        name: ``cifar10-16``, or ``cifar10-jpeg-16`` for JPEG bytes, which are not the canonical ones.
        pixels: (N, 3, 16, 16) uint8.
        label: (N,) int64.
        sha256: of pixels and labels.
    """

    name: str
    pixels: Tensor
    label: Tensor
    sha256: str

    def scaled(self) -> Tensor:
        """(N, 3, 16, 16) float32 in [-1, 1]."""
        return self.pixels.float() / 127.5 - 1


def load(source: str, split: str = "train") -> Images:
    """Read one split and halve its resolution by averaging 2x2 pixels (PIL's box filter).

    Args:
        source: as ``HELP`` says.
        split: ``train`` (50,000 images) or ``test`` (10,000).

    Raises:
        UsageError: there is no such data, or it cannot be read.
    """
    if not source:
        raise UsageError(f"training needs CIFAR-10; {HELP}")
    kind, _, folder = source.rpartition(":")
    if kind in ("torchvision", "torchvision+download"):
        return _torchvision(Path(folder), split, download=kind.endswith("download"))
    path = Path(source) / f"{split}.npz"
    if not path.is_file():
        raise UsageError(f"{path} is not there; {HELP}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            jpeg, offsets, labels = data["jpeg"], data["offsets"], data["labels"]
        pictures = [_decode(jpeg[a:b].tobytes()) for a, b in pairwise(offsets)]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is damaged or of another kind ({type(error).__name__}); {HELP}") from error
    return _images("cifar10-jpeg-16", pictures, labels)


def _torchvision(folder: Path, split: str, download: bool) -> Images:
    datasets = require("torchvision.datasets", "metrics")
    try:
        data: Any = datasets.CIFAR10(str(folder), train=split == "train", download=download)
    except RuntimeError as error:
        raise UsageError(f"{folder} does not hold torchvision's CIFAR-10; {HELP}") from error
    return _images("cifar10-16", [_halve(picture) for picture, _ in data], np.asarray(data.targets))


def _decode(data: bytes) -> NDArray[np.uint8]:
    from PIL import Image

    return _halve(Image.open(io.BytesIO(data)).convert("RGB"))


def _halve(picture: Any) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BOX), dtype=np.uint8)


def _images(name: str, pictures: list[NDArray[np.uint8]], labels: NDArray[Any]) -> Images:
    pixels = np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))
    label = labels.astype(np.int64)
    sha256 = hashlib.sha256(pixels.tobytes() + label.tobytes()).hexdigest()
    return Images(name, torch.from_numpy(pixels), torch.from_numpy(label), sha256)
