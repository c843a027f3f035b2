"""A few images, in every container that is understood, and an extractor that needs no weights."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.reference.build import Order, build
from bench.reference.images import Preparation
from bench.reference.sources import open_source
from bench.reference.statistics import Reference


@pytest.fixture
def pixels() -> np.ndarray:
    """(40, 12, 12, 3) uint8"""
    return np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)


def encoded(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def photos(tmp_path: Path, pixels: np.ndarray) -> Path:
    folder = tmp_path / "photos" / "a"
    folder.mkdir(parents=True)
    for number, image in enumerate(pixels):
        (folder / f"{number:03d}.png").write_bytes(encoded(image))
    (folder / "notes.txt").write_text("not an image")
    return tmp_path / "photos"


@pytest.fixture
def shard(tmp_path: Path, pixels: np.ndarray) -> Path:
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as archive:
        for number, image in enumerate(pixels):
            for suffix, data in (("png", encoded(image)), ("cls", b"3")):
                member = tarfile.TarInfo(f"{number:03d}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


def pooled(images):
    """(B, 6): mean and spread of each colour, float32."""
    values = images.float()
    return __import__("torch").cat([values.mean((2, 3)), values.std((2, 3))], 1)


Make = Callable[..., Reference]


@pytest.fixture
def make() -> Make:
    def made(source: str | Path, way: str = "none", resolution: int | None = None, **more: object) -> Reference:
        order = Order("pooled@1/none", pooled, Preparation(way, resolution), **more)
        return build(open_source(str(source)), order)

    return made
