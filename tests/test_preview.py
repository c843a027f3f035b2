"""What is kept of a cell for its report: the first pictures, and clips made small."""

from __future__ import annotations

import numpy as np
import torch

from bench import preview
from bench.batch import Batch
from bench.registry import create


def clips_of(values: torch.Tensor) -> np.ndarray:
    found = preview.clips(Batch(samples=values.float(), clips=values))
    assert found is not None
    return found


def test_small_clips_are_kept_as_they_are() -> None:
    clips = torch.randint(0, 256, (7, 8, 3, 16, 16), dtype=torch.uint8)
    assert np.array_equal(clips_of(clips), clips[: preview.CLIPS].numpy())


def test_long_clips_keep_their_first_and_last_frames_at_equal_distances() -> None:
    numbers = torch.arange(61, dtype=torch.uint8).view(1, 61, 1, 1, 1).expand(2, 61, 3, 4, 4)
    kept = clips_of(numbers)[0, :, 0, 0, 0].tolist()
    assert kept == list(range(0, 61, 4))


def test_large_clips_become_means_over_squares() -> None:
    clips = torch.randint(0, 256, (1, 2, 3, 200, 90), dtype=torch.uint8)
    small = clips_of(clips)
    assert small.shape == (1, 2, 3, 67, 30)
    assert small[0, 1, 2, 5, 7] == np.round(clips[0, 1, 2, 15:18, 21:24].float().mean().item())
    # the last row has two lines only, and nothing of its mean is padding
    assert small[0, 0, 0, 66, 0] == np.round(clips[0, 0, 0, 198:, :3].float().mean().item())


def test_what_is_no_clip_has_none_and_pictures_are_rounded_once() -> None:
    suite = create("suite", "digits")
    batch = suite.reference()
    found = preview.arrays(suite, Batch(samples=batch.samples[:20]))
    assert list(found) == ["preview"]
    images = suite.images(batch.samples[:10])
    assert images is not None
    assert np.array_equal(found["preview"], (images * 255).round().to(torch.uint8).numpy())
