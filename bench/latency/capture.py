"""A denoiser recorded once as a CUDA graph and replayed: its kernels without the host's launching of each.

::

    first call of a shape:  static x, sigma -> warm-up on a side stream -> capture -> replay
    every later call:       copy into static x, sigma -> replay -> clone of the static output

The rules are those of PyTorch's notes on CUDA graphs: warm-up and capture on the same side stream, so that libraries
make their handles and workspaces before capture; inputs and outputs at fixed addresses, which the graph's private pool
keeps; no wait for the device inside. What breaks them cannot be captured and runs eagerly, with the reason kept.

Copies in and the clone out are part of a call: a solver keeps several outputs, and the next replay would overwrite
them. What the denoiser reads besides is held for as long as the graph is (``bench.latency.keep``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from bench.denoiser import Denoiser
from bench.latency.keep import Keep

WARM_UP = 3  # calls before capture: libraries choose their kernels in the first ones


class NotCapturable(Exception):
    """Why something cannot become a graph, one sentence."""


class Capture(Protocol):
    """Records a call that reads and writes fixed addresses."""

    def __call__(self, call: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """How to replay the call, and its output, which every replay overwrites.

        Raises:
            NotCapturable: the call does what a graph cannot do.
        """
        ...


@cache
def _side(device: int) -> torch.cuda.Stream:
    """The one stream of a device on which everything is captured: libraries keep a workspace for each stream."""
    new_stream: Callable[..., torch.cuda.Stream] = torch.cuda.Stream
    return new_stream(device)


def _new_graph() -> torch.cuda.CUDAGraph:
    make: Callable[[], torch.cuda.CUDAGraph] = torch.cuda.CUDAGraph
    return make()


def cuda_capture(call: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Record on the current CUDA device; see ``Capture``."""
    side, here = _side(torch.cuda.current_device()), torch.cuda.current_stream()
    side.wait_stream(here)
    try:
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                call()
            _without_waiting(call)
    finally:
        here.wait_stream(side)  # also after an error: what the call read may be freed now
    graph = _new_graph()
    try:
        with torch.cuda.graph(graph, stream=side):
            output = call()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        _recover(side, here)
        raise NotCapturable(first_cause(error)) from error
    return graph.replay, output


def _recover(side: torch.cuda.Stream, here: torch.cuda.Stream) -> None:
    """Put right what a broken capture leaves behind.

    In some versions of torch the side stream stays the current one. Torch's own generator believes that it is still
    being captured, so random numbers are an error ("Offset increment outside graph capture") to the end of the process;
    a whole capture ends that.
    """
    torch.cuda.set_stream(here)
    torch.cuda.synchronize()
    scratch = torch.zeros(1, device="cuda")
    with torch.cuda.graph(_new_graph(), stream=side):
        scratch.add_(1)


def _without_waiting(call: Callable[[], Tensor]) -> None:
    """Call once more; a wait for the device is found here, because one inside a capture leaves broken state behind."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        call()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise NotCapturable(first_cause(error)) from error
    finally:
        torch.cuda.set_sync_debug_mode(before)


def first_cause(error: BaseException) -> str:
    """The first line of the exception that the others came from: ending a broken capture raises once more."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error).strip().partition("\n")[0] or type(error).__name__


@dataclass
class _Recorded:
    """A graph and the addresses it reads and writes; ``held`` keeps those of what the denoiser reads besides."""

    x: Tensor
    sigma: Tensor
    replay: Callable[[], None]
    output: Tensor
    held: Mapping[int, Tensor]


@dataclass
class Graphed:
    """A denoiser as a graph per shape.

    Attributes:
        denoise: what is recorded.
        capture: how.
        spend: runs what must be done once and keeps its time apart.
        refuse: told at every eager call why its shape could not be recorded.
        recorded: by shape and dtype; the reason where there is no graph.
    """

    denoise: Denoiser
    capture: Capture
    spend: Callable[[Callable[[], None]], None]
    refuse: Callable[[str], None]
    recorded: dict[tuple[torch.Size, torch.dtype], _Recorded | str] = field(default_factory=dict)

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        key = (x.shape, x.dtype)
        if key not in self.recorded:
            self.spend(lambda: self._record(x, sigma))
        found = self.recorded[key]
        if isinstance(found, str):
            self.refuse(found)
            return self.denoise(x, sigma)
        found.x.copy_(x)
        fill(found.sigma, sigma)
        found.replay()
        return found.output.clone()

    def _record(self, x: Tensor, sigma: float | Tensor) -> None:
        static = x.clone()
        level = torch.empty(x.shape[0], dtype=torch.float64, device=x.device)
        fill(level, sigma)
        self.denoise(static, level)  # a network may make in its first call what it reads in all later ones
        with Keep() as keep:
            self.denoise(static, level)
        try:
            replay, output = self.capture(lambda: self.denoise(static, level))
        except NotCapturable as problem:
            self.recorded[x.shape, x.dtype] = f"the denoiser cannot be captured as a CUDA graph: {problem}"
            return
        self.recorded[x.shape, x.dtype] = _Recorded(static, level, replay, output, keep.held)


def fill(level: Tensor, sigma: float | Tensor) -> None:
    """Put noise levels, one for all or (B,), into a (B,) tensor, without a copy from the host that waits."""
    if isinstance(sigma, Tensor) and sigma.device == level.device:
        level.copy_(sigma.expand_as(level))
    elif isinstance(sigma, Tensor) and sigma.numel() > 1:
        level.copy_(sigma)
    else:
        level.fill_(float(sigma))
