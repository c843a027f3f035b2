"""What a report shows of a cell's first samples: pictures, and clips made small."""

from __future__ import annotations

from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from bench.batch import Batch
from bench.suites.base import Suite

PICTURES = 10
CLIPS = 5
FRAMES, HEIGHT = 16, 96  # at most, of a clip: a film of 81 frames would be a hundred times as large


def pictures(suite: Suite, batch: Batch) -> NDArray[np.uint8] | None:
    """(n, C, H, W) the first samples as pictures, quantised once, half to even; None if they are not pictures."""
    images = suite.images(batch.samples[:PICTURES])
    if images is None:
        return None
    found: NDArray[np.uint8] = (images * 255).round().to(torch.uint8).numpy()
    return found


def clips(batch: Batch) -> NDArray[np.uint8] | None:
    """(n, F, 3, H, W) the first clips, of long ones frames at equal distances, of large ones means over squares."""
    if batch.clips is None:
        return None
    some = batch.clips[:CLIPS]
    frames = torch.linspace(0, some.shape[1] - 1, min(some.shape[1], FRAMES)).round().long()
    some = some[:, frames]
    side = ceil(some.shape[-2] / HEIGHT)
    small = F.avg_pool2d(some.flatten(0, 1).float(), side, ceil_mode=True, count_include_pad=False)
    found: NDArray[np.uint8] = small.round().to(torch.uint8).view(*some.shape[:2], *small.shape[1:]).numpy()
    return found


def arrays(suite: Suite, batch: Batch) -> dict[str, NDArray[np.uint8]]:
    """What is kept beside a record, by name: ``preview`` and ``clips``, where there are such."""
    found = {"preview": pictures(suite, batch), "clips": clips(batch)}
    return {name: array for name, array in found.items() if array is not None}
