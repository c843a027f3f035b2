"""A pipeline as the network of a suite: ``(x, sigma (B,), label (B,)) -> x0_hat``, where labels are rows of a table."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bench.denoiser import Guided, per_sample
from bench.pipelines.base import Condition, Pipeline
from bench.pipelines.conditions import Table
from bench.reuse import Memory, Part

_clock = itertools.count(1)


class PartialPipeline(Protocol):
    """A pipeline whose network can be run in parts (``bench.reuse``)."""

    def partial(self, x_t: Tensor, t: Tensor, condition: Condition, memory: Memory, part: Part) -> Tensor:
        """The network's raw output, some of its features taken from, or all written to, ``memory``."""
        ...


class PipelineNetwork:
    """The denoiser of a pipeline with its table of conditions.

    Args:
        pipeline: a loaded pipeline.
        table: its encoded prompts.

    Attributes:
        used: grows with every use, over all networks of the process.
    """

    def __init__(self, pipeline: Pipeline, table: Table) -> None:
        self.pipeline = pipeline
        self.table = table
        self.used = 0
        self._label: Tensor | None = None
        self._condition: Condition = {}
        offloaded = getattr(pipeline.pipe, "_all_hooks", None)  # of accelerate
        self._lock = threading.RLock() if offloaded else None
        self.touch()

    @property
    def module(self) -> nn.Module:
        """The network that is called at every step; modes of the latency protocol compile it."""
        return self.pipeline.denoiser

    def touch(self) -> None:
        """Note that this network is the last one in use."""
        self.used = next(_clock)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep decoder and denoiser from running at once where modules take turns on the device (offloading)."""
        if self._lock is None:
            yield
        else:
            with self._lock:
                yield

    def condition(self, label: Tensor) -> Condition:
        """The rows of these labels; the last ones are kept, as every step of a sampler asks for the same tensor."""
        if label is not self._label:
            self.touch()
            with self.exclusive():
                self._condition, self._label = self.table.rows(label), label
        return self._condition

    def __call__(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        """x0_hat (B, ...) of x (B, ...) at sigma (B,) for the prompts with the numbers ``label`` (B,)."""
        condition = self.condition(label)
        with self.exclusive():
            return self.pipeline.denoise(x, sigma, condition)


class ReusableNetwork(PipelineNetwork):
    """The same, of a pipeline whose network can be run in parts."""

    def partial(self, x: Tensor, t: Tensor, label: Tensor, memory: Memory, part: Part) -> Tensor:
        """See ``bench.reuse.Partial``; here ``t`` is sigma (B,), and the output is x0_hat."""
        run: Callable[..., Tensor] = self.pipeline.partial  # type: ignore[attr-defined]

        def predict(x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
            return run(x_t, time, condition, memory, part)

        condition = self.condition(label)
        with self.exclusive():
            return self.pipeline.denoise(x, t, condition, predict)


def pipeline_network(pipeline: Pipeline, table: Table) -> PipelineNetwork:
    """The network of a pipeline, which offers ``partial`` if the pipeline does."""
    return (ReusableNetwork if hasattr(pipeline, "partial") else PipelineNetwork)(pipeline, table)


class GuidedRows(Guided):
    """``bench.denoiser.Guided`` that hands over the same tensor of labels at every step, so that rows are read once.

    Args:
        network, label, null, guidance_scale: as ``Guided``.
    """

    def __init__(self, network: Callable[..., Tensor], label: Tensor, null: int, guidance_scale: float) -> None:
        super().__init__(network, label, null, guidance_scale)
        self.both = torch.cat([self.label, self.null])

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        if self.guidance_scale in (0.0, 1.0):
            return super().__call__(x, sigma)
        level = per_sample(sigma, x).to(x.dtype)
        found: Any = self.network(torch.cat([x, x]), torch.cat([level, level]), self.both)
        conditional, unconditional = found.chunk(2)
        return torch.lerp(unconditional, conditional, self.guidance_scale)
