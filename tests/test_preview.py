"""What is kept of a cell for its report: the first pictures, and clips made small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch

from bench import preview
from bench.batch import Batch
from bench.preview import Previews
from bench.registry import create
from bench.suites.base import Suite


class Numbers:
    """A suite whose samples are their own indices, as pictures and as clips; it counts what it describes."""

    def __init__(self) -> None:
        self.described: list[list[int]] = []

    def label(self, index: Sequence[int]) -> torch.Tensor:
        return torch.tensor(index)

    def describe(self, samples: torch.Tensor, label: torch.Tensor) -> Batch:
        assert samples.tolist() == label.tolist()
        self.described.append(label.tolist())
        return Batch(samples=samples, clips=samples.to(torch.uint8).view(-1, 1, 1, 1, 1).expand(-1, 2, 3, 4, 4))

    def images(self, samples: torch.Tensor) -> torch.Tensor:
        return samples.view(-1, 1, 1, 1) / 255


def collected(sizes: Sequence[int], part: int = 1000) -> tuple[Previews, Numbers]:
    """What is kept of batches of these sizes, of which so many samples are scored at once."""
    suite, start = Numbers(), 0
    previews = Previews(cast(Suite, suite))
    for size in sizes:
        samples = torch.arange(start, start + size).float()
        first = suite.describe(samples[:part], suite.label(range(start, start + min(part, size))))
        suite.described.clear()
        previews.add(range(start, start + size), samples, first)
        start += size
    return previews, suite


def numbers(found: np.ndarray[Any, Any]) -> list[int]:
    return [int(each.flat[0]) for each in found]


@pytest.mark.parametrize("sizes", [[12], [1] * 12, [4, 4, 4], [8, 2, 2], [7, 1, 4]])
@pytest.mark.parametrize("part", [1, 2, 3, 1000], ids=lambda part: f"scored by {part}")
def test_the_first_samples_come_from_as_many_batches_as_it_takes(sizes: list[int], part: int) -> None:
    found = collected(sizes, part)[0].arrays()
    assert numbers(found["preview"]) == list(range(preview.PICTURES))
    assert numbers(found["clips"]) == list(range(preview.CLIPS))


def test_fewer_samples_than_wanted_are_all_kept() -> None:
    found = collected([1, 1])[0].arrays()
    assert numbers(found["preview"]) == numbers(found["clips"]) == [0, 1]


def test_nothing_is_described_again_but_what_a_short_memory_left_out() -> None:
    assert collected([4, 4])[1].described == []
    assert collected([8], part=3)[1].described == [[3, 4, 5], [6, 7]]
    assert collected([100], part=50)[1].described == []


def test_small_clips_are_kept_as_they_are() -> None:
    clips = torch.randint(0, 256, (7, 8, 3, 16, 16), dtype=torch.uint8)
    assert np.array_equal(preview.small(clips), clips.numpy())


def test_long_clips_keep_their_first_and_last_frames_at_equal_distances() -> None:
    counted = torch.arange(61, dtype=torch.uint8).view(1, 61, 1, 1, 1).expand(2, 61, 3, 4, 4)
    kept = preview.small(counted)[0, :, 0, 0, 0].tolist()
    assert kept == list(range(0, 61, 4))


def test_large_clips_become_means_over_squares() -> None:
    clips = torch.randint(0, 256, (1, 2, 3, 200, 90), dtype=torch.uint8)
    small = preview.small(clips)
    assert small.shape == (1, 2, 3, 67, 30)
    assert small[0, 1, 2, 5, 7] == np.round(clips[0, 1, 2, 15:18, 21:24].float().mean().item())
    # the last row has two lines only, and nothing of its mean is padding
    assert small[0, 0, 0, 66, 0] == np.round(clips[0, 0, 0, 198:, :3].float().mean().item())


def test_what_is_no_clip_has_none_and_pictures_are_rounded_once() -> None:
    suite = create("suite", "digits")
    batch = suite.reference()
    previews = Previews(suite)
    previews.add(range(20), batch.samples[:20], Batch(samples=batch.samples[:20]))
    found = previews.arrays()
    assert list(found) == ["preview"]
    images = suite.images(batch.samples[:10])
    assert images is not None
    assert np.array_equal(found["preview"], (images * 255).round().to(torch.uint8).numpy())
