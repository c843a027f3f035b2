"""Class-conditional pipelines: prompts are the numbers or the names of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bench.errors import UsageError


def every_class(count: int) -> tuple[str, ...]:
    """The classes 0..count-1 as prompts; the one empty condition if there are none."""
    return tuple(map(str, range(count))) or ("",)


def class_numbers(prompts: Sequence[str], count: int, names: Mapping[str, int]) -> Tensor:
    """(B,) int64 class numbers.

    Args:
        prompts: numbers or names.
        count: how many classes there are; with 0 every prompt is class 0, which nobody asks for.
        names: of the classes, if the pipeline knows any.

    Raises:
        UsageError: neither a number below ``count`` nor a known name.
    """
    return torch.tensor([_number(prompt.strip(), count, names) for prompt in prompts], dtype=torch.int64)


def _number(prompt: str, count: int, names: Mapping[str, int]) -> int:
    if count == 0:
        return 0
    if prompt in names:
        return names[prompt]
    if prompt.isdecimal() and int(prompt) < count:
        return int(prompt)
    raise UsageError(f"{prompt!r} is no class of this pipeline; write a number from 0 to {count - 1} or a known name")
