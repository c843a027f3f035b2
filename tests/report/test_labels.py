from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bench.report.labels import Box, place, spread


@given(st.lists(st.tuples(st.floats(-5, 15), st.floats(0.1, 1.0)), min_size=1, max_size=12))
def test_spread_keeps_order_and_never_overlaps(items: list[tuple[float, float]]) -> None:
    wanted, heights = zip(*items, strict=True)
    low, high = 0.0, max(sum(heights), 8.0)
    centres = spread(wanted, heights, low, high)
    order = sorted(range(len(items)), key=lambda i: wanted[i])
    for below, above in pairwise(order):
        gap = centres[above] - centres[below]
        assert gap >= (heights[above] + heights[below]) / 2 - 1e-9
    assert all(low - 1e-9 <= c - h / 2 and c + h / 2 <= high + 1e-9 for c, h in zip(centres, heights, strict=True))


def test_spread_leaves_alone_what_fits() -> None:
    assert spread([3.0, 1.0, 7.0], [1.0, 1.0, 1.0], 0, 10) == [3.0, 1.0, 7.0]


def test_spread_moves_a_crowd_to_both_sides() -> None:
    assert spread([5.0, 5.0, 5.0], [1.0, 1.0, 1.0], 0, 10) == [4.0, 5.0, 6.0]


def test_place_covers_nothing_while_there_is_room() -> None:
    frame = Box(0, 0, 10, 10)
    taken: list[Box] = [Box(4.9, 4.9, 5.1, 5.1)]
    for _ in range(20):
        box = place((5, 5), (1.5, 0.4), taken, frame, 0.2)
        assert box.inside(frame)
        assert all(box.overlap(other) == 0 for other in taken)
        taken.append(box)


def test_place_covers_least_where_there_is_no_room() -> None:
    frame = Box(0, 0, 2, 1)
    box = place((1, 0.5), (1.0, 0.75), [Box(0, 0, 1, 1)], frame, 0.0625)
    assert box == Box(1, box.bottom, 2, box.bottom + 0.75)
    assert box.inside(frame)
    full = place((1, 0.5), (1.0, 0.75), [frame], frame, 0.0625)
    assert abs(full.overlap(frame) - 0.75) < 1e-9
