"""Batches that are halved when memory runs out."""

from __future__ import annotations

import pytest
import torch

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


def test_another_error_is_not_a_lack_of_memory() -> None:
    def work(index: range) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(batches(range(4), 4, work, lambda *_: None))


def test_indices_need_not_begin_at_zero() -> None:
    done = [index for index, _ in batches(range(5, 9), 3, lambda index: index, lambda *_: None)]
    assert done == [range(5, 8), range(8, 9)]
