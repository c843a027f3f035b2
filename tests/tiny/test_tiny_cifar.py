"""Reading CIFAR-10: what halving is, and sentences for what is not there."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.errors import UsageError
from bench.tiny import cifar


def write(folder: Path, pictures: list[NDArray[np.uint8]], labels: list[int]) -> None:
    files = []
    for picture in pictures:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")  # lossless: the expected values are then exact
        files.append(np.frombuffer(buffer.getvalue(), np.uint8))
    offsets = np.cumsum([0, *map(len, files)])
    labels_ = np.array(labels, np.uint8)
    np.savez(folder / "train.npz", jpeg=np.concatenate(files), offsets=offsets, labels=labels_)


def test_each_pixel_is_the_mean_of_four(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(3)]
    write(tmp_path, pictures, [3, 0, 9])
    images = cifar.load(str(tmp_path))
    assert images.name == "cifar10-jpeg-16" and images.label.tolist() == [3, 0, 9]
    mean = np.stack(pictures).reshape(3, 16, 2, 16, 2, 3).mean((2, 4)).transpose(0, 3, 1, 2)
    assert np.abs(images.pixels.numpy() - mean).max() <= 1, "Pillow rounds rows and columns in turn"
    assert images.scaled().min() >= -1 and images.scaled().max() <= 1
    torch.testing.assert_close((images.scaled() + 1) * 127.5, images.pixels.float())


def test_the_hash_is_of_pixels_and_labels(tmp_path: Path) -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    found = []
    for value, label in ((0, 1), (0, 2), (4, 1)):
        write(tmp_path, [picture + np.uint8(value)], [label])
        found.append(cifar.load(str(tmp_path)).sha256)
    assert len(set(found)) == 3


@pytest.mark.parametrize("cut", ["file", "picture", "table"])
def test_damaged_data_are_a_sentence(tmp_path: Path, cut: str) -> None:
    write(tmp_path, [np.zeros((32, 32, 3), np.uint8)] * 2, [3, 0])
    path = tmp_path / "train.npz"
    if cut == "file":
        path.write_bytes(path.read_bytes()[:-40])
    else:
        with np.load(path) as data:
            held = dict(data)
        held["jpeg"] = held["jpeg"][: len(held["jpeg"]) // 4]
        np.savez(path, **{name: held[name] for name in held if cut == "picture" or name != "labels"})
    with pytest.raises(UsageError, match=r"train\.npz is damaged or of another kind"):
        cifar.load(str(tmp_path))


@pytest.mark.parametrize("source", ["", "nowhere", "torchvision:nowhere"])
def test_missing_data_are_a_sentence_that_says_what_to_do(source: str) -> None:
    pytest.importorskip("torchvision")
    with pytest.raises(UsageError, match="BENCH_CIFAR10"):
        cifar.load(source)
