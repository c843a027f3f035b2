from __future__ import annotations

import re
import subprocess
import sys

from bench.latency import hardware


def test_fingerprint_is_readable_and_safe_in_names() -> None:
    assert re.fullmatch(r"[a-z0-9-]+@[0-9a-f]{8}", hardware.fingerprint("cpu", 2))


def test_fingerprint_changes_with_threads_and_is_stable_across_processes() -> None:
    mine = hardware.fingerprint("cpu", 2)
    assert hardware.fingerprint("cpu", 4) != mine
    code = "from bench.latency.hardware import fingerprint; print(fingerprint('cpu', 2))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == mine


def test_fingerprint_with_given_threads_does_not_import_torch() -> None:
    code = "import sys, bench.latency.hardware as h; h.fingerprint('cpu', 1); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
