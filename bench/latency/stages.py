"""The stages of a pipeline: text encoder, denoiser, solver, decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:  # a report knows the stages, and needs no torch
    from torch import Tensor

TEXT_ENCODER, DENOISER, SOLVER, DECODER = "text_encoder", "denoiser", "solver", "decoder"
STAGES = (TEXT_ENCODER, DENOISER, SOLVER, DECODER)


@runtime_checkable
class Staged(Protocol):
    """A suite whose samples come from an encoder and go to a decoder; both are part of what a user waits for.

    A suite that has both methods is staged; any other one has a denoiser and a solver only.
    """

    def encode(self, index: Sequence[int]) -> None:
        """Run the encoders of the conditioning afresh for the samples with these indices; nothing is remembered."""

    def decode(self, samples: Tensor) -> object:
        """What a user wants, from samples (B, ...) of ``Method.sample``; on the samples' device."""


def split(total: float, inside: Mapping[str, float]) -> dict[str, float]:
    """Seconds by stage: what is in no other stage is the solver's.

    Args:
        total: seconds of one run.
        inside: seconds in the stages that have marks.
    """
    return {**inside, SOLVER: total - sum(inside.values())}


def medians(splits: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each stage over runs; so they add up to the median run only roughly."""
    names = dict.fromkeys(name for found in splits for name in found)
    return {name: median(found[name] for found in splits if name in found) for name in names}
