"""Rows on a spool: batches leave no trace, memory does not grow, and a set stays what it was when others are added."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.metrics import _features
from bench.metrics._features import Rows
from bench.metrics._frechet import Moments
from bench.metrics.base import Estimate
from bench.metrics.fd import FD
from bench.metrics.kid import KID, KernelRows
from bench.metrics.precision import Balls, Precision

Floats = NDArray[np.float32]


def made(n: int, d: int, seed: int) -> Floats:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def added(kind: type[Rows], x: Floats, size: int) -> Rows:
    found = kind(x[:size])
    for start in range(size, len(x), size):
        found = found + kind(x[start : start + size])
    return found


@pytest.mark.parametrize("size", [1, 7, 64, 300])
def test_adding_batches_is_the_whole(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_features, "MEMORY", 2000)  # most of it is in the file
    x = made(300, 8, 0)
    found = added(Rows, x, size)
    assert len(found) == 300 and found.width == 8
    np.testing.assert_array_equal(found.rows, x)
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in found.chunks()]), x.astype(np.float64))


def test_a_set_stays_what_it_was() -> None:
    a, b, c = (Rows(made(5, 3, seed)) for seed in range(3))
    ab = a + b
    abc, abb = ab + c, ab + b  # the second one may not see what the first one appended
    np.testing.assert_array_equal(ab.rows, np.concatenate([a.rows, b.rows]))
    np.testing.assert_array_equal(abc.rows, np.concatenate([a.rows, b.rows, c.rows]))
    np.testing.assert_array_equal(abb.rows, np.concatenate([a.rows, b.rows, b.rows]))
    np.testing.assert_array_equal((ab + ab).rows, np.concatenate([a.rows, b.rows] * 2))


def test_double_precision_is_kept() -> None:
    x = np.random.default_rng(0).standard_normal((4, 2))
    np.testing.assert_array_equal((Rows(x) + Rows(x)).rows, np.concatenate([x, x]))


def values(x: Floats, y: Floats, size: int) -> list[Estimate]:
    kinds = ((FD(), Moments), (KID(), KernelRows), (Precision(), Balls))
    return [metric.value(added(kind, x, size), added(kind, y, 50)) for metric, kind in kinds]  # type: ignore[arg-type]


def test_no_metric_depends_on_batches_nor_on_where_rows_are(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = made(300, 6, 0), made(200, 6, 1)
    whole = values(x, y, 300)
    for size in (9, 128):
        assert [each.value for each in values(x, y, size)] == [each.value for each in whole]  # to the last bit
    monkeypatch.setattr(_features, "MEMORY", 1000)
    monkeypatch.setattr(_features, "ROWS", 37)
    for parts, one in zip(values(x, y, 9), whole, strict=True):
        assert parts.value == pytest.approx(one.value, rel=1e-10)
        assert parts.influence == pytest.approx(one.influence, abs=1e-9)
        assert parts.detail == pytest.approx(one.detail, rel=1e-9)


def peak(n: int) -> int:
    """Bytes that FD holds at most while n rows of 128 numbers come in and are judged."""
    reference = Moments(made(500, 128, 1))
    tracemalloc.start()
    found = Moments(made(100, 128, 0))
    for start in range(100, n, 100):
        found = found + Moments(made(100, 128, start))
    FD().value(found, reference)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_does_not_grow_with_the_number_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_features, "MEMORY", 2**18)
    monkeypatch.setattr(_features, "BLOCK", 2**16)
    small, large = peak(2_000), peak(20_000)
    assert large < small + 1_000_000  # the influence of each sample; the rows are ten megabytes


def test_temporary_files_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_features, "MEMORY", 10)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = added(Rows, made(20, 3, 0), 4)
        del found
    assert not caught
