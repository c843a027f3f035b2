"""VBench's quality, semantic and total score from the raw scores of its dimensions, or a partial score with a name.

The official script counts a missing dimension as a raw 0, which turns 0.820 into 0.492. Here there is no total unless
all 16 are there; what there is has the weighted mean of its normalised scores, under a name that lists its dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.errors import UsageError
from bench.vbench.dimensions import DIMENSIONS, QUALITY_WEIGHT, SEMANTIC_WEIGHT, Group, dimension


@dataclass(frozen=True)
class Summary:
    """What stands in a table.

    Attributes:
        name: ``vbench`` if complete, else ``partial(temporal_flickering,...)``.
        quality, semantic, total: in [0, 1] as a rule; None unless all dimensions are there.
        partial: weighted mean of the normalised scores that are there; None if all are.
        normalised: by dimension, in the official order.
        missing: dimensions that are not there.
    """

    name: str
    quality: float | None
    semantic: float | None
    total: float | None
    partial: float | None
    normalised: dict[str, float]
    missing: tuple[str, ...]


def _weighted(normalised: Mapping[str, float]) -> float:
    weights = {name: DIMENSIONS[name].weight for name in normalised}
    return sum(weights[name] * value for name, value in normalised.items()) / sum(weights.values())


def _group(normalised: Mapping[str, float], group: Group) -> float:
    return _weighted({name: value for name, value in normalised.items() if DIMENSIONS[name].group == group})


def summarise(raw: Mapping[str, float]) -> Summary:
    """The scores from VBench's own raw scores by dimension, each in [0, 1], or in [-1, 1] if it is a cosine.

    Raises:
        UsageError: a name is no dimension, a score is not a number in its range, or there is none at all.
    """
    scores = {dimension(name).name: value for name, value in raw.items()}
    if not scores:
        raise UsageError("there is no score of any dimension of VBench")
    for name, value in scores.items():
        lowest = DIMENSIONS[name].lowest
        if not lowest <= value <= 1:  # nan is neither
            raise UsageError(
                f"{name} is {value:g}; its raw scores lie between {lowest:g} and 1 (divide percentages by 100)"
            )
    normalised = {name: DIMENSIONS[name].normalised(scores[name]) for name in DIMENSIONS if name in scores}
    missing = tuple(name for name in DIMENSIONS if name not in scores)
    if missing:
        name = f"partial({','.join(normalised)})"
        return Summary(name, None, None, None, _weighted(normalised), normalised, missing)
    quality, semantic = _group(normalised, "quality"), _group(normalised, "semantic")
    total = (QUALITY_WEIGHT * quality + SEMANTIC_WEIGHT * semantic) / (QUALITY_WEIGHT + SEMANTIC_WEIGHT)
    return Summary("vbench", quality, semantic, total, None, normalised, ())
