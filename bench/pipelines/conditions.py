"""The table of encoded prompts: each is encoded once per process, when it is first needed.

What an encoder makes is kept as bytes, without loss, in a ``bench.spool.Spool``: host memory does not grow with the
number of prompts. Row ``len(prompts)`` is the null condition of guidance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.errors import UsageError
from bench.pipelines.base import Condition, Pipeline
from bench.spool import Spool

BATCH = 16  # prompts that go through the encoders at once


@dataclass(frozen=True)
class _Layout:
    """Where one tensor of a condition stands in a row of bytes."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    size: int


def _layout(condition: Condition) -> tuple[_Layout, ...]:
    return tuple(
        _Layout(name, tuple(value.shape[1:]), value.dtype, value[0].numel() * value.element_size())
        for name, value in condition.items()
    )


def _bytes(condition: Condition, count: int) -> NDArray[np.float32]:
    """(count, d) float32 that hold the bytes of all tensors, row by row."""
    parts = [value.detach().cpu().contiguous().view(count, -1).view(torch.uint8) for value in condition.values()]
    width = sum(part.shape[1] for part in parts)
    parts.append(torch.zeros(count, -width % 4, dtype=torch.uint8))
    return torch.cat(parts, dim=1).numpy().view("<f4")


class Table:
    """Encoded prompts by their index.

    Args:
        pipeline: whose encoders are used.
        prompts: their texts; an index may name one, or ``len(prompts)``, the null condition.
        batch: prompts that are encoded at once.
    """

    def __init__(self, pipeline: Pipeline, prompts: Sequence[str], batch: int = BATCH) -> None:
        self.pipeline = pipeline
        self.prompts = tuple(prompts)
        self.batch = batch
        self._spool = Spool()
        self._layout: tuple[_Layout, ...] = ()
        self._row: dict[int | str, int] = {}  # by text, so that a prompt that is there twice is encoded once

    @torch.inference_mode(False)  # what is made in inference mode could not be used where methods are fitted
    @torch.no_grad()
    def rows(self, label: Tensor) -> Condition:
        """The conditions (B, ...) of these indices (B,), on the pipeline's device.

        Raises:
            UsageError: prompts became conditions of different shapes.
        """
        keys = [self._key(index) for index in label.tolist()]
        self._encode([key for key in dict.fromkeys(keys) if key not in self._row])
        table = self._spool.take([self._row[key] for key in keys])
        data = torch.from_numpy(table.view(np.uint8).reshape(len(keys), -1))
        out: Condition = {}
        start = 0
        for part in self._layout:
            piece = data[:, start : start + part.size].clone(memory_format=torch.contiguous_format).view(part.dtype)
            out[part.name] = piece.view(len(keys), *part.shape).to(self.pipeline.device)
            start += part.size
        return out

    def _key(self, index: int) -> int | str:
        return index if index == len(self.prompts) else self.prompts[index]

    @torch.inference_mode()
    def _encode(self, keys: list[int | str]) -> None:
        if any(isinstance(key, int) for key in keys):
            self._keep([len(self.prompts)], self.pipeline.encode_null())
        texts = [key for key in keys if isinstance(key, str)]
        for start in range(0, len(texts), self.batch):
            part = texts[start : start + self.batch]
            self._keep(part, self.pipeline.encode(part))

    def _keep(self, keys: Sequence[int | str], condition: Condition) -> None:
        layout = _layout(condition)
        if self._layout and layout != self._layout:
            raise UsageError("prompts became conditions of different shapes, which cannot stand in one batch")
        self._layout = layout
        if layout:
            start = len(self._spool)
            self._spool.append(_bytes(condition, len(keys)))
            self._row.update({key: start + i for i, key in enumerate(keys)})
