"""What metrics see: samples and what the suite derives from them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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
    """

    samples: Tensor
    label: Tensor | None = None
    features: Tensor | None = None
    probs: Tensor | None = None
    solution: Tensor | None = None
    raw: Tensor | None = None
