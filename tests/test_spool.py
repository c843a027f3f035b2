"""Rows in memory and in a file are the same rows."""

from __future__ import annotations

import errno
import os
import tracemalloc

import numpy as np
import pytest

from bench import spool
from bench.errors import OutputError
from bench.spool import Spool


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1000, 7)).astype(np.float32)


@pytest.mark.parametrize("limit", [0, 5000, 10**9])
def test_rows_come_back_as_they_went_in(tmp_path, rows, limit: int) -> None:
    with Spool(limit, tmp_path) as table:
        for part in np.array_split(rows, 13):
            table.append(part)
        assert len(table) == 1000 and table.width == 7
        assert table.on_disk == (limit < rows.nbytes)
        assert np.array_equal(table.all(), rows)
        assert np.array_equal(np.concatenate(list(table.chunks(64))), rows)
        assert np.array_equal(table.take([3, 999, 3, -1]), rows[[3, 999, 3, -1]])
        assert np.array_equal(table.rows(990, 2000), rows[990:])
        assert table.rows(5, 5).shape == (0, 7)
        table.append(rows)
        assert np.array_equal(table.rows(1000, 2000), rows)
        assert not list(tmp_path.iterdir())  # the file has no name
    assert len(table) == 0


def test_what_comes_out_is_a_copy(rows) -> None:
    with Spool() as table:
        table.append(rows)
        table.all()[:] = 0
        assert np.array_equal(table.all(), rows)


def test_tables_are_joined(rows) -> None:
    with Spool(100) as first, Spool() as second:
        first.append(rows[:400])
        second.append(rows[400:])
        first.extend(second)
        assert np.array_equal(first.all(), rows)


def test_other_precisions_are_rounded(rows) -> None:
    with Spool() as table:
        table.append(rows.astype(np.float64) + 1e-12)
        assert table.all().dtype == np.float32
        assert np.array_equal(table.all(), (rows.astype(np.float64) + 1e-12).astype(np.float32))


def test_what_does_not_fit_is_refused(rows) -> None:
    with Spool() as table:
        assert table.all().shape == (0, 0)
        table.append(rows)
        for wrong in (rows[:, :3], rows[0]):
            with pytest.raises(ValueError, match="do not fit a table of width 7"):
                table.append(wrong)
        with pytest.raises(IndexError, match="row 1000 of 1000"):
            table.take([1000])
        assert len(table) == 1000


def test_a_full_disk_leaves_what_was_there(rows, monkeypatch) -> None:
    def full(*args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for limit in (rows.nbytes, 10):
        with Spool(limit) as table:
            table.append(rows)
            with monkeypatch.context() as patch:
                patch.setattr(spool.os, "pwrite", full)
                with pytest.raises(OutputError, match="No space left on device; free space or set TMPDIR"):
                    table.append(rows)
            assert np.array_equal(table.all(), rows)
            table.append(rows)
            assert len(table) == 2000 and np.array_equal(table.rows(1000, 2000), rows)


def test_memory_does_not_grow_with_the_rows() -> None:
    block = np.ones((1000, 100), np.float32)
    tracemalloc.start()
    try:
        with Spool(limit=block.nbytes) as table:
            for _ in range(50):
                table.append(block)
            assert sum(float(part.sum()) for part in table.chunks(1000)) == 50 * block.size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * block.nbytes  # 50 blocks went through
