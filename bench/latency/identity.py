"""What a latency protocol's id says, and what it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import UsageError, unknown
from bench.latency import hardware
from bench.latency.modes import EAGER, MODES
from bench.latency.stages import Staged
from bench.suites.base import Suite

V1, V2 = "latency-v1", "latency-v2"
BATCHES = (1, 64)
STAGED_BATCHES = (1, 4)  # a pipeline's sample costs as much as thousands of digits
STAGED_BATCHES_CPU = (1,)  # and on a CPU, as many seconds


@dataclass(frozen=True)
class Settings:
    """How a cell is measured.

    Attributes:
        batches: batch sizes.
        mode: how the denoiser is run, one of ``bench.latency.modes.MODES``.
        version: ``V1`` or ``V2``.
    """

    batches: tuple[int, ...] = BATCHES
    mode: str = EAGER
    version: str = V1


def settings_for(suite: Suite | None, device: str, batches: Sequence[int] | None = None, mode: str = EAGER) -> Settings:
    """Protocol v2 on CUDA, for suites with stages and for modes other than eager; v1 otherwise.

    Args:
        suite: what is measured; None is one without stages.
        device: ``"cpu"`` or ``"cuda"``.
        batches: batch sizes; the suite's own if None.
        mode: one of ``bench.latency.modes.MODES``.

    Raises:
        UsageError: an unknown mode, or one that needs a CUDA device.
    """
    if mode not in MODES:
        raise unknown("mode", mode, MODES)
    on_cuda = device.startswith("cuda")
    if mode == "graph" and not on_cuda:
        raise UsageError("mode graph records CUDA graphs; use it with --device cuda, or another mode")
    staged = isinstance(suite, Staged)
    version = V2 if on_cuda or staged or mode != EAGER else V1
    own = BATCHES if not staged else STAGED_BATCHES if on_cuda else STAGED_BATCHES_CPU
    return Settings(tuple(own if batches is None else batches), mode, version)


def settings(identifier: str) -> Settings:
    """What an id asks for."""
    version, *parts = identifier.split("/")
    values = dict(part.partition("=")[::2] for part in parts)
    return Settings(tuple(map(int, values["b"].split(","))), values.get("mode", EAGER), version)


def protocol_id(
    device: str,
    dtype: str,
    batches: Sequence[int] | None = None,
    num_threads: int | None = None,
    suite: Suite | None = None,
    mode: str = EAGER,
) -> str:
    """The id of a latency cell; numbers under different ids are never merged or ranked together.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
        dtype: of the network, such as ``"float32"``.
        batches: batch sizes; the suite's own if not given.
        num_threads: threads of the process that will measure; this process's if not given.
        suite: what is measured.
        mode: how the denoiser is run.

    Raises:
        UsageError: an unknown mode, or one that needs a CUDA device.
    """
    chosen = settings_for(suite, device, batches, mode)
    sizes = ",".join(map(str, chosen.batches))
    machine = f"hw={hardware.fingerprint(device, num_threads)}"
    if chosen.version == V1:
        return f"{V1}/{device}/{dtype}/b={sizes}/compile=off/{machine}"
    shape = () if suite is None else ("x=" + "x".join(map(str, suite.shape)),)
    span = "span=pipeline" if isinstance(suite, Staged) else "span=sample"
    return "/".join([V2, device, dtype, f"b={sizes}", f"mode={mode}", *shape, span, machine])
