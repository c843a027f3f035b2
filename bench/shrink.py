"""Work in batches that are halved when the accelerator's memory runs out: slower is better than not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

T = TypeVar("T")


def _attempt(work: Callable[[range], T], index: range) -> tuple[T | None, bool]:
    """The result, and whether there was enough memory; what failed is let go of before anything else is tried."""
    try:
        return work(index), True
    except torch.OutOfMemoryError:
        if len(index) == 1:
            raise
        return None, False


def batches(
    samples: range, batch: int, work: Callable[[range], T], halved: Callable[[int, int], None]
) -> Iterator[tuple[range, T]]:
    """Work through samples in order; no result may depend on the batch.

    Args:
        samples: their indices, without gaps.
        batch: how many at once, to begin with; the smaller size stays once memory has run out.
        work: called with the indices of a batch.
        halved: told the size that did not fit and the next one.

    Raises:
        torch.OutOfMemoryError: not even one sample fits.
    """
    start = samples.start
    while start < samples.stop:
        index = range(start, min(start + batch, samples.stop))
        result, fits = _attempt(work, index)
        if fits:
            yield index, result  # type: ignore[misc]  # it is a T where it fits
            start = index.stop
            continue
        batch = len(index) // 2
        torch.cuda.empty_cache()
        halved(len(index), batch)
