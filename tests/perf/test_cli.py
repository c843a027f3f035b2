"""What looking around costs: whole processes, so run it on a quiet machine."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.perf


@pytest.mark.parametrize(
    ("args", "limit"), [(("--help",), 0.3), (("list", "methods"), 0.6)], ids=["help", "list methods"]
)
def test_start_up(benchmark, bench, args: tuple[str, ...], limit: float) -> None:
    done = benchmark.pedantic(bench, args=args, rounds=7, warmup_rounds=1)
    assert done.returncode == 0
    assert benchmark.stats.stats.median <= limit
