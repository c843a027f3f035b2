"""What a report shows of a cell's first samples: pictures, and clips made small."""

from __future__ import annotations

from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bench.batch import Batch
from bench.suites.base import Suite

PICTURES = 10
CLIPS = 5
FRAMES, HEIGHT = 16, 96  # at most, of a clip: a film of 81 frames would be a hundred times as large


def pictures(suite: Suite, samples: Tensor) -> NDArray[np.uint8] | None:
    """(n, C, H, W) samples as pictures, quantised once, half to even; None if they are not pictures."""
    images = suite.images(samples)
    if images is None:
        return None
    found: NDArray[np.uint8] = (images * 255).round().to(torch.uint8).numpy()
    return found


def small(clips: Tensor) -> NDArray[np.uint8]:
    """(n, F, 3, H, W) clips, of long ones frames at equal distances, of large ones means over squares."""
    frames = torch.linspace(0, clips.shape[1] - 1, min(clips.shape[1], FRAMES)).round().long()
    some = clips[:, frames]
    side = ceil(some.shape[-2] / HEIGHT)
    means = F.avg_pool2d(some.flatten(0, 1).float(), side, ceil_mode=True, count_include_pad=False)
    found: NDArray[np.uint8] = means.round().to(torch.uint8).view(*some.shape[:2], *means.shape[1:]).numpy()
    return found


class Previews:
    """The first samples of a cell, from as many batches as it takes; no more than ``PICTURES`` and ``CLIPS`` are held.

    Args:
        suite: it says whether samples are pictures.
    """

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self._pictures: list[NDArray[np.uint8]] = []
        self._clips: list[NDArray[np.uint8]] = []

    def add(self, index: range, samples: Tensor, first: Batch) -> None:
        """Take what is still wanted from a batch; batches come in the order of their samples.

        Args:
            index: of the samples of the batch.
            samples: (B, ...) as generated.
            first: what was described of them: all, or the first part where memory was short. More comes in such parts.
        """
        size = len(first.samples)
        for start in range(index.start, min(index.stop, PICTURES), size):
            part = range(start, min(start + size, index.stop))
            rows = slice(part.start - index.start, part.stop - index.start)
            is_first = start == index.start
            self._take(first if is_first else self._suite.describe(samples[rows], self._suite.label(part)))

    def _take(self, batch: Batch) -> None:
        wanted = PICTURES - sum(map(len, self._pictures))
        found = pictures(self._suite, batch.samples[:wanted]) if wanted else None
        if found is not None:
            self._pictures.append(found)
        wanted = CLIPS - sum(map(len, self._clips))
        if batch.clips is not None and wanted:
            self._clips.append(small(batch.clips[:wanted]))

    def arrays(self) -> dict[str, NDArray[np.uint8]]:
        """What is kept beside a record, by name: ``preview`` and ``clips``, where there are such."""
        found = {"preview": self._pictures, "clips": self._clips}
        return {name: np.concatenate(parts) for name, parts in found.items() if parts}
