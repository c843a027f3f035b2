"""Totals against published ones: what authors report for all 16 dimensions beside the totals of the official script."""

from __future__ import annotations

import math

import pytest

from bench.errors import UsageError
from bench.vbench.dimensions import DIMENSIONS
from bench.vbench.score import summarise

# total, quality, semantic, then the 16 dimensions in the official order; percent, rounded to two places
# FlashVideo (arXiv 2502.05179), Table 1, with rows of the leaderboard; its row at 8 fps is left out: there the semantic
# score is 0.10 below what its own dimensions give
FLASHVIDEO = """
Vchitect(VEnhancer) 82.24 83.54 77.06 96.83 96.66 98.57 98.98 63.89 60.41 65.35 86.61 68.84 97.20 87.04 57.55 56.57 23.73 25.01 27.57
CogVideoX-1.5       82.17 82.78 79.76 96.87 97.35 98.88 98.31 50.93 62.79 65.02 87.47 69.65 97.20 87.55 80.25 52.91 24.89 25.19 27.30
CogVideoX-5B        81.61 82.75 77.04 96.23 96.52 98.66 96.92 70.97 61.98 62.90 85.23 62.11 99.40 82.81 66.35 53.20 24.91 25.38 27.59
Mochi-1             80.13 82.64 70.08 96.99 97.28 99.40 99.02 61.85 56.94 60.64 86.51 50.47 94.60 79.73 69.24 36.99 20.33 23.65 25.15
OpenSora-1.2        80.00 82.30 70.79 96.56 97.20 99.34 98.96 54.35 59.81 60.28 83.45 45.43 92.80 81.45 65.43 51.07 21.47 22.62 25.19
OpenSoraPlan-V1.1   78.00 80.91 66.38 95.73 96.73 99.03 98.28 47.72 56.85 62.28 76.30 40.35 86.80 89.19 53.11 27.17 22.90 23.87 26.52
FlashVideo-24fps    82.99 83.35 81.56 97.19 97.09 98.52 98.89 56.88 62.11 65.40 88.38 78.93 99.40 84.84 82.16 57.43 24.36 25.26 27.59
"""  # noqa: E501 - a table
# AccVideo (arXiv 2503.19462), README of aejion/AccVideo
ACCVIDEO = """
AccVideo-HunyuanT2V 83.26 84.58 77.96 94.46 97.45 99.18 98.79 75.00 62.08 65.64 92.99 67.33 95.60 94.11 75.70 54.72 19.87 23.71 27.21
AccVideo-WanXT2V    85.95 86.62 83.25 95.02 97.75 99.54 97.95 93.33 64.21 68.42 98.38 86.58 97.40 92.04 75.68 59.82 23.88 24.62 27.34
"""  # noqa: E501 - a table

ROWS = [line.split() for line in (FLASHVIDEO + ACCVIDEO).strip().splitlines() if line]
RAW = {name: 0.5 for name in DIMENSIONS}


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_published_totals(row: list[str]) -> None:
    numbers = [float(number) for number in row[1:]]
    found = summarise({name: number / 100 for name, number in zip(DIMENSIONS, numbers[3:], strict=True)})
    assert found.total is not None and found.quality is not None and found.semantic is not None
    # what the rounding of the 16 inputs (each +-0.005) and of the published result can make
    half = 0.005
    quality = half + half * sum(d.weight / (d.high - d.low) for d in DIMENSIONS.values() if d.group == "quality") / 6.5
    semantic = half + half * sum(1 / (d.high - d.low) for d in DIMENSIONS.values() if d.group == "semantic") / 9
    assert 100 * found.quality == pytest.approx(numbers[1], abs=quality)
    assert 100 * found.semantic == pytest.approx(numbers[2], abs=semantic)
    assert 100 * found.total == pytest.approx(numbers[0], abs=0.8 * quality + 0.2 * semantic)
    assert (found.name, found.missing, found.partial) == ("vbench", (), None)


def test_the_ends_of_the_official_scale() -> None:
    lowest = summarise({name: each.low for name, each in DIMENSIONS.items()})
    highest = summarise({name: each.high for name, each in DIMENSIONS.items()})
    assert lowest.total == pytest.approx(0.0)
    assert highest.total == pytest.approx(1.0)


def test_dynamic_degree_counts_half() -> None:
    low = summarise(RAW | {"dynamic_degree": 0.0}).quality
    high = summarise(RAW | {"dynamic_degree": 1.0}).quality
    assert low is not None and high is not None
    assert high - low == pytest.approx(0.5 / 6.5)


@pytest.mark.parametrize("gone", list(DIMENSIONS))
def test_no_total_without_all_dimensions(gone: str) -> None:
    found = summarise({name: value for name, value in RAW.items() if name != gone})
    assert (found.total, found.quality, found.semantic) == (None, None, None)
    assert found.missing == (gone,)
    assert found.name == f"partial({','.join(name for name in DIMENSIONS if name != gone)})"
    rest = [each for name, each in DIMENSIONS.items() if name != gone]
    mean = sum(d.weight * (0.5 - d.low) / (d.high - d.low) for d in rest) / sum(d.weight for d in rest)
    assert found.partial == pytest.approx(mean)


def test_a_single_dimension_is_its_normalised_score() -> None:
    found = summarise({"temporal_flickering": 0.9})
    assert found.name == "partial(temporal_flickering)"
    assert found.partial == pytest.approx((0.9 - 0.6293) / (1 - 0.6293))


def test_names_may_have_spaces() -> None:
    assert summarise({"temporal flickering": 0.9}).name == "partial(temporal_flickering)"


@pytest.mark.parametrize("value", [96.83, -0.1, math.nan, math.inf])
def test_scores_out_of_range_are_refused(value: float) -> None:
    with pytest.raises(UsageError, match="its raw scores lie between 0 and 1"):
        summarise({"temporal_flickering": value})


@pytest.mark.parametrize("name", ["appearance_style", "temporal_style", "overall_consistency"])
def test_a_cosine_may_be_negative(name: str) -> None:
    each = DIMENSIONS[name]
    assert summarise({name: -0.02}).partial == pytest.approx((-0.02 - each.low) / (each.high - each.low))
    with pytest.raises(UsageError, match="its raw scores lie between -1 and 1"):
        summarise({name: 25.4})


def test_nothing_and_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match="no score"):
        summarise({})
    with pytest.raises(UsageError, match="did you mean object_class"):
        summarise({"object_clas": 0.5})
