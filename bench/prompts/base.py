"""A prompt, and a set of them with its identity."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """One text to generate from.

    Attributes:
        text: what the model is given.
        id: its name within its set: an image id, a number of a line.
        tags: what the set says about it: challenge, category, dimension.
    """

    text: str
    id: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptSet:
    """Prompts and where they are from.

    Attributes:
        id: ``name@sha8/n=64/seed=0``; the hash is of the texts before sampling, the rest how they were drawn.
        prompts: in the order they are used.
        available: how many there were to draw from.
    """

    id: str
    prompts: tuple[Prompt, ...]
    available: int


def content_hash(prompts: Sequence[Prompt]) -> str:
    """Eight hexadecimal digits that depend on every text and their order."""
    found = hashlib.sha256()
    for prompt in prompts:
        found.update(prompt.text.encode() + b"\0")
    return found.hexdigest()[:8]
