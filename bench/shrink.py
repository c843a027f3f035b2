"""Work in batches that are halved when the accelerator's memory runs out: slower is better than not at all.

Memory runs out in torch's allocator (``torch.OutOfMemoryError``), or in a library that allocates past it: cuBLAS, cuDNN
and cuFFT for handles and workspaces, the driver for a kernel's code. Those raise plain runtime errors.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

T = TypeVar("T")

_IN_LIBRARIES = re.compile(r"_ALLOC(ATION)?_FAILED|CUDA error: out of memory")


def _attempt(work: Callable[[range], T], index: range) -> tuple[T | None, bool]:
    """The result, and whether there was enough memory; what failed is let go of before anything else is tried."""
    try:
        return work(index), True
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        is_own = isinstance(error, torch.OutOfMemoryError)
        if not is_own and not _IN_LIBRARIES.search(str(error)):
            raise
        if len(index) > 1:
            return None, False
        if is_own:
            raise
        raise torch.OutOfMemoryError(f"out of memory: {error}") from error


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
        gc.collect()  # what refers to itself would keep its memory
        torch.cuda.empty_cache()
        halved(len(index), batch)
