"""Running ``bench run`` on the cheapest suite with methods that misbehave."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parent / "plugins"

Command = Callable[..., list[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """``command(methods, nfe, *options)``: the command line of a small run into ``tmp_path / "out"``."""

    def build(methods: str, nfe: str, *options: str) -> list[str]:
        fixed = ["--suite", "mixture", "--samples", "8", "--no-latency", "--no-report", "--out", str(tmp_path / "out")]
        plugins = ["--plugin", str(PLUGINS / "faulty.py"), "--plugin", f"metric:{PLUGINS / 'mean_norm.py'}"]
        chosen = ["--metrics", "mean_norm", "--methods", methods, "--nfe", nfe]
        return [sys.executable, "-m", "bench", "run", *fixed, *plugins, *chosen, *options]

    return build


@pytest.fixture
def run_bench(command: Command) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run such a command line to its end."""

    def call(methods: str, nfe: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(methods, nfe, *options), capture_output=True, text=True, timeout=300, check=False)

    return call
