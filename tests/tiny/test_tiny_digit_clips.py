"""Clips of bouncing digits: where the digit is, and that nothing of it is lost."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from bench.tiny.digit_clips import (
    BROAD_SPEEDS,
    FRAMES,
    ROOM,
    digit_images,
    draw_broad_paths,
    draw_clips,
    draw_paths,
    reflect,
    render,
)


@settings(deadline=None)  # the first call loads the data
@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 1796))
def test_at_whole_pixels_the_digit_is_copied(row: int, column: int, number: int) -> None:
    digit = digit_images()[0][number : number + 1]
    clip = render(digit, torch.tensor([[[row, column]]], dtype=torch.float32))
    expected = torch.full((16, 16), -1.0)
    expected[row : row + 8, column : column + 8] = digit[0, 0] * 2 - 1
    torch.testing.assert_close(clip[0, 0, 0], expected, atol=1e-5, rtol=0)


def test_between_pixels_ink_is_kept() -> None:
    digits = digit_images()[0][:50]
    path = 0.5 + 7 * torch.rand(50, FRAMES, 2, generator=Generator().manual_seed(0))
    ink = (render(digits, path) + 1).sum(dim=(1, 3, 4)) / 2
    torch.testing.assert_close(ink, digits.sum(dim=(1, 2, 3))[:, None].expand_as(ink), rtol=1e-4, atol=0)


@given(st.floats(-30, 30), st.floats(-2.5, 2.5))
def test_reflection_keeps_speed_and_stays_inside(start: float, velocity: float) -> None:
    position = reflect(start + velocity * torch.arange(40, dtype=torch.float64))
    assert bool((position >= 0).all()) and bool((position <= ROOM).all())
    free = (position[1:-1] > 2.5) & (position[1:-1] < ROOM - 2.5)  # no wall within a step
    steps = position.diff().abs()
    torch.testing.assert_close(steps[1:][free], torch.full_like(steps[1:][free], abs(velocity)), atol=1e-9, rtol=0)


def test_whole_pixels_one_or_two_a_frame_and_every_digit_twice() -> None:
    clips, digit, path = draw_clips(4000, Generator().manual_seed(2))
    assert torch.equal(path, path.round()) and float(path.min()) == 0 and float(path.max()) == ROOM
    steps = path.diff(dim=1).abs()
    assert set(steps.flatten().tolist()) <= {0.0, 1.0, 2.0}, "0 where a wall is between two pixels"
    assert len({clip.numpy().tobytes() for clip in clips[:, 0, 0] if clip.max() > -1}) <= 20 * 81
    assert torch.bincount(digit).min() > 300
    assert torch.equal(draw_paths(3, Generator().manual_seed(1)), draw_paths(3, Generator().manual_seed(1)))


def test_broad_paths_have_the_stated_speeds_and_cover_the_box() -> None:
    path = draw_broad_paths(4000, Generator().manual_seed(1))
    assert path.shape == (4000, FRAMES, 2)
    inside = ((path[:, :2] > 2.5) & (path[:, :2] < ROOM - 2.5)).all(dim=(1, 2))
    speed = (path[inside, 1] - path[inside, 0]).norm(dim=1)
    assert BROAD_SPEEDS[0] - 1e-4 <= float(speed.min()) and float(speed.max()) <= BROAD_SPEEDS[1] + 1e-4
    torch.testing.assert_close(path.mean(dim=(0, 1)), torch.full((2,), ROOM / 2), atol=0.15, rtol=0)


def test_the_generator_alone_decides() -> None:
    first, again = (draw_clips(5, Generator().manual_seed(3)) for _ in range(2))
    other = draw_clips(5, Generator().manual_seed(4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
