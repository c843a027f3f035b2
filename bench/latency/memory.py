"""Peak memory of one call, above what was held before it: weights and initial noise are not in it."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from pathlib import Path

import torch

RESOLUTION = 1 << 20  # bytes; the kernel adds up each thread's resident pages late, so less is not told apart

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def peak_memory(call: Callable[[], object], device: torch.device) -> int | None:
    """Bytes a call needs at its peak, or None where that cannot be told.

    On CUDA, what the caching allocator handed out. On Linux, the peak of the resident set after free heap has gone
    back to the system; increases under ``RESOLUTION`` are not told.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - held
    if not _reset_peak():
        return None
    held = _status("VmRSS")
    call()
    increase = _status("VmHWM") - held
    return increase if increase >= RESOLUTION else None


def _reset_peak() -> bool:
    """Give free heap back and start a new peak; False where the system has no way."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        _CLEAR.write_text("5", encoding="ascii")  # proc(5): resets VmHWM
    except (OSError, AttributeError):
        return False
    return True


def _status(key: str) -> int:
    match = re.search(rf"^{key}:\s+(\d+) kB", _STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    assert match is not None
    return int(match[1]) * 1024
