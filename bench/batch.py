"""What metrics see: samples and what the suite derives from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from bench.errors import UsageError


class Lacking(UsageError, ValueError):
    """A batch does not have what a metric needs; the metric is then a stated gap, and the others have numbers."""


@dataclass(frozen=True)
class Batch:
    """Generated samples or reference data; every tensor has the same first dimension.

    Attributes:
        samples: (B, ...) in the suite's data space, quantised as the suite states.
        label: (B,) int64 conditioning, or None.
        features: (B, F) float32 in the suite's feature space, or None.
        probs: (B, K) float32 class probabilities of the suite's classifier, or None.
        solution: (B, ...) the teacher's reference ODE solution from the same noise (None for reference data).
        raw: (B, ...) samples before quantisation, what trajectories are compared on (None for reference data).
        images: (B, 3, H, W) uint8 on the CPU, quantised once, half to even; None if samples are not pictures.
        clips: (B, F, 3, H, W) uint8 on the CPU, likewise; None if samples are not clips.
        prompts: the B texts the samples were made from, or None.
        solution_images: (B, 3, H, W) uint8, the reference solution as pictures.
        extracted: what feature networks have found in this batch, by their ids, so that none runs twice.
    """

    samples: Tensor
    label: Tensor | None = None
    features: Tensor | None = None
    probs: Tensor | None = None
    solution: Tensor | None = None
    raw: Tensor | None = None
    images: Tensor | None = None
    clips: Tensor | None = None
    prompts: tuple[str, ...] | None = None
    solution_images: Tensor | None = None
    extracted: dict[str, Any] = field(default_factory=dict)
