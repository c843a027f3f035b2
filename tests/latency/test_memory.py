from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.latency import memory
from bench.latency.memory import peak_memory

CPU = torch.device("cpu")
needs_linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs /proc")


@needs_linux
@pytest.mark.parametrize("mebibytes", [16, 64])
def test_a_known_allocation_is_the_peak_also_the_second_time(mebibytes: int) -> None:
    def call() -> None:
        torch.zeros(mebibytes << 20, dtype=torch.uint8).add_(1)

    for _ in range(2):
        assert peak_memory(call, CPU) == pytest.approx(
            mebibytes << 20, abs=4 << 20
        )  # the system may add pages of its own


@needs_linux
def test_small_pieces_count_although_the_heap_keeps_them() -> None:
    def call() -> None:
        pieces = [torch.zeros(1 << 20, dtype=torch.uint8).add_(1) for _ in range(4)]
        assert len(pieces) == 4

    found = [peak_memory(call, CPU) for _ in range(3)]
    assert found[-1] == pytest.approx(4 << 20, abs=1 << 18)


@needs_linux
def test_what_is_below_the_resolution_is_missing_not_zero() -> None:
    assert peak_memory(lambda: None, CPU) is None


def test_a_system_that_cannot_tell_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "none" / "clear_refs")
    assert peak_memory(lambda: torch.zeros(1 << 24), CPU) is None
