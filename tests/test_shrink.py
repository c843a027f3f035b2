"""Batches that are halved when memory runs out."""

from __future__ import annotations

import gc
import re
import weakref

import pytest
import torch

from bench.engine.base import classify
from bench.record import Status
from bench.shrink import batches


def worked(samples: int, batch: int, fits: int) -> tuple[list[range], list[tuple[int, int]]]:
    """The batches that were done on a machine that holds ``fits`` samples, and what was said."""
    said: list[tuple[int, int]] = []

    def work(index: range) -> range:
        if len(index) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return index

    done = list(batches(range(samples), batch, work, lambda size, half: said.append((size, half))))
    assert all(index == result for index, result in done)
    return [index for index, _ in done], said


def test_every_sample_is_done_once_and_in_order() -> None:
    done, said = worked(10, 4, 4)
    assert done == [range(0, 4), range(4, 8), range(8, 10)]
    assert said == []


def test_the_batch_is_halved_until_it_fits_and_stays_so() -> None:
    done, said = worked(9, 8, 3)
    assert done == [range(0, 2), range(2, 4), range(4, 6), range(6, 8), range(8, 9)]
    assert said == [(8, 4), (4, 2)]


def test_one_sample_that_does_not_fit_is_out_of_memory() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        worked(4, 4, 0)


LIBRARIES = (
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "cuFFT error: CUFFT_ALLOC_FAILED",
    "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call",
)


@pytest.mark.parametrize("message", LIBRARIES)
def test_a_library_that_finds_no_memory_counts_as_well(message: str) -> None:
    def work(index: range) -> range:
        if len(index) > 2:
            raise RuntimeError(message)
        return index

    assert [index for index, _ in batches(range(4), 4, work, lambda *_: None)] == [range(0, 2), range(2, 4)]


@pytest.mark.parametrize("message", LIBRARIES)
def test_a_library_that_finds_none_even_for_one_sample_is_out_of_memory(message: str) -> None:
    def work(index: range) -> None:
        raise RuntimeError(message)

    with pytest.raises(torch.OutOfMemoryError, match=re.escape(message)) as caught:
        list(batches(range(2), 2, work, lambda *_: None))
    assert classify(caught.value)[0] is Status.OOM


def test_what_failed_is_let_go_of_before_the_next_attempt() -> None:
    """Also what refers to itself, as modules with hooks do."""
    alive: list[weakref.ref[object]] = []

    class Cycle:
        def __init__(self) -> None:
            self.itself = self

    def work(index: range) -> range:
        assert all(ref() is None for ref in alive)
        held = Cycle()
        if len(index) > 1:
            alive.append(weakref.ref(held))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return index

    gc.disable()
    try:
        assert len(list(batches(range(4), 4, work, lambda *_: None))) == 4
    finally:
        gc.enable()
    assert len(alive) == 2


def test_another_error_is_not_a_lack_of_memory() -> None:
    def work(index: range) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(batches(range(4), 4, work, lambda *_: None))

    def wrong(index: range) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        list(batches(range(4), 4, wrong, lambda *_: None))


def test_indices_need_not_begin_at_zero() -> None:
    done = [index for index, _ in batches(range(5, 9), 3, lambda index: index, lambda *_: None)]
    assert done == [range(5, 8), range(8, 9)]
