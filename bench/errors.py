"""What can go wrong for a user, each with one sentence and a documented exit code."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterable


class ExitCode(enum.IntEnum):
    """What the process ends with; documented in the README and in ``bench --help``."""

    OK = 0
    REGRESSION = 1
    USAGE = 2
    CELL_FAILED = 3
    MISSING_BASELINE = 4
    NO_DEVICE = 5
    OUTPUT = 6
    ASSET = 7
    INTERNAL = 70
    INTERRUPTED = 130


class BenchError(Exception):
    """A problem the user can act on: what, where, what to do. Never shown as a stack trace."""

    exit_code = ExitCode.USAGE


class UsageError(BenchError):
    """An unknown name, a parameter of the wrong type, an impossible number."""


class DeviceError(BenchError):
    """The device asked for is not there."""

    exit_code = ExitCode.NO_DEVICE


class OutputError(BenchError):
    """The output directory cannot be used: unwritable, full, in use, or from a newer version."""

    exit_code = ExitCode.OUTPUT


class AssetError(BenchError):
    """Shipped or fitted weights are missing, truncated, or not what their record says."""

    exit_code = ExitCode.ASSET


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not registered, with the nearest registered names.

    Args:
        kind: what the name should be, such as ``"method"``.
        name: what the user typed.
        known: the registered names.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"
    return UsageError(f"unknown {kind} {name!r}; {hint}")
