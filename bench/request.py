"""What a user asks for, as text on the command line, and as checked values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bench.errors import DeviceError, UsageError, unknown
from bench.registry import Kind, add_path

NFE_LIMIT = 1000
SEED_LIMIT = 2**31 - 1
SAMPLES_LIMIT = 10**7
DEVICES = ("cpu", "cuda")
DTYPES = ("float32", "float64", "bfloat16", "float16")
KINDS: tuple[Kind, ...] = ("method", "suite", "metric")
_RANGE = re.compile(r"(\d+)\s*-\s*(\d+)")


@dataclass(frozen=True)
class Request:
    """What determines the cells of a run; how they are run is not part of it.

    Attributes:
        suite: spec of the suite.
        methods: comma-separated specs, families (``bench.info.FAMILIES``) or ``all``.
        nfe, seeds: checked integers, without repetition.
        samples, metrics: the suite's own if None; metrics are specs, the first one ranks.
        dtype, device: of the network.
        artifacts: a folder with fitted artifacts that is searched before those shipped.
        latency: whether latency is measured too.
        latency_threads: threads of the process that measures latency.
    """

    suite: str = "digits"
    methods: str = "all"
    nfe: tuple[int, ...] = (1, 2, 4)
    seeds: tuple[int, ...] = (0,)
    samples: int | None = None
    metrics: str | None = None
    dtype: str = "float32"
    device: str = "cpu"
    artifacts: Path | None = None
    latency: bool = False
    latency_threads: int = 1


def integer(text: str, what: str, low: int, high: int) -> int:
    """An integer within limits.

    Raises:
        UsageError: it is none, or is outside.
    """
    try:
        value = int(text)
    except ValueError as error:
        raise UsageError(f"{what} must be an integer from {low} to {high}, not {text!r}") from error
    if not low <= value <= high:
        raise UsageError(f"{what} must be from {low} to {high}, not {value}")
    return value


def integers(text: str, what: str, low: int, high: int) -> tuple[int, ...]:
    """Integers written ``1,2,4`` or ``1-8`` or both, in the order given, each once.

    Raises:
        UsageError: a part is not an integer or a range, or is outside the limits; or there is none.
    """
    values: dict[int, None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        ends = _RANGE.fullmatch(part)
        start, stop = (integer(text, what, low, high) for text in (ends.groups() if ends else (part, part)))
        if stop < start:
            raise UsageError(f"the range {part!r} of {what} runs backwards; write {stop}-{start}")
        values.update(dict.fromkeys(range(start, stop + 1)))
    if not values:
        raise UsageError(f"{what} needs at least one integer from {low} to {high}, such as 1,2,4 or 1-8")
    return tuple(values)


def check_device(device: str) -> str:
    """A device that is there.

    Raises:
        UsageError: no such kind of device.
        DeviceError: this machine has none.
    """
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise DeviceError("there is no CUDA device here (torch.cuda.is_available() is false); use --device cpu")
    return device


def check_dtype(dtype: str) -> str:
    """The name of a dtype that networks may run in.

    Raises:
        UsageError: another name.
    """
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    return dtype


def add_plugins(plugins: list[str]) -> tuple[tuple[Kind, str], ...]:
    """Register files given by path, ``my_solver.py`` or ``suite:my_suite.py``; what workers have to register as well.

    Raises:
        UsageError: no such file, a name that is taken, or an unknown kind.
    """
    added: list[tuple[Kind, str]] = []
    for text in plugins:
        prefix, colon, rest = text.partition(":")
        named = {str(kind): kind for kind in KINDS}.get(prefix) if colon else None
        kind, path = named or "method", Path(rest if named else text).resolve()
        add_path(kind, path)
        added.append((kind, str(path)))
    return tuple(added)
