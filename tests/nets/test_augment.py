"""The classifier's augmentation."""

import torch
from torch import Generator

from bench.nets.augment import add_noise, shift


def test_shift_moves_by_at_most_one_pixel() -> None:
    images = torch.full((400, 1, 8, 8), -1.0)
    images[:, 0, 3, 4] = 1.0
    moved = shift(images, 1.0, Generator().manual_seed(0))
    where = {tuple(p) for p in (moved[:, 0] == 1.0).nonzero()[:, 1:].tolist()}
    assert where == {(i, j) for i in (2, 3, 4) for j in (3, 4, 5)}
    assert (moved == 1.0).flatten(1).sum(1).eq(1).all()


def test_shift_brings_in_black() -> None:
    moved = shift(torch.ones(200, 1, 8, 8), 1.0, Generator().manual_seed(0))
    assert set(moved.flatten().tolist()) == {-1.0, 1.0}


def test_share_zero_changes_nothing() -> None:
    images = torch.randn(5, 3, 8, 8, generator=Generator().manual_seed(0))
    assert torch.equal(shift(images, 0.0, Generator()), images)
    assert torch.equal(add_noise(images, 0.0, Generator()), images)


def test_noise_is_uniformly_scaled() -> None:
    noise = add_noise(torch.zeros(4000, 1, 8, 8), 0.3, Generator().manual_seed(0))
    levels = noise.flatten(1).std(1)
    assert levels.max() < 0.45
    torch.testing.assert_close(levels.mean(), torch.tensor(0.15), atol=0.01, rtol=0)
