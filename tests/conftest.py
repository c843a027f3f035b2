"""Shared by all tests: a command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# tensors in tests are small: threads cost more than they save, above all in the processes that tests start
os.environ.setdefault("OMP_NUM_THREADS", "1")

Bench = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).parent.parent


@pytest.fixture
def bench(root: Path) -> Bench:
    """``bench("list", "methods", path=[...])``: one command line in a fresh process, both outputs captured.

    ``path`` are folders that come before the installed packages; ``env`` are further variables.
    """

    def call(
        *args: str, path: tuple[Path, ...] = (), env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        folders = os.pathsep.join(map(str, (*path, root)))
        environment = {**os.environ, "PYTHONPATH": folders, "COLUMNS": "100", **(env or {})}
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "bench", *args],
            capture_output=True, text=True, env=environment, timeout=120, check=False,
        )  # fmt: skip

    return call
