"""Step control: norms per sample, the three rules at their corners, and scipy's first step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import RK45
from torch import Tensor

from bench.stepcontrol import arctangent, bounded, choose, error_norm, first_step, proportional


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_norm_is_per_sample_and_double() -> None:
    value = torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]]])
    scale = torch.tensor([[[1.0, 2.0]], [[1.0, 0.5]]])
    found = error_norm(value, scale)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, vector(math.sqrt((9 + 4) / 2), math.sqrt(16 / 2)))


def test_choose_takes_rows() -> None:
    yes, no = torch.ones(2, 3, 1), torch.zeros(2, 3, 1)
    picked = choose(torch.tensor([True, False]), yes, no)
    assert torch.equal(picked, torch.stack([yes[0], no[1]]))
    assert torch.equal(choose(torch.tensor([False, True]), vector(1, 2), vector(3, 4)), vector(3, 2))


def test_proportional_accepts_up_to_one_and_scales_with_the_order() -> None:
    accept, factor = proportional(vector(0.25, 1.0, 1.0001, 4.0, 0.0), 2, 0.9)
    assert accept.tolist() == [True, True, False, False, True]
    torch.testing.assert_close(factor[[0, 1, 3]], vector(1.8, 0.9, 0.45))
    assert float(factor[4]) == math.inf
    torch.testing.assert_close(proportional(vector(8.0), 3, 1.0)[1], vector(0.5))


def test_arctangent_is_limited_and_accepts_by_its_factor() -> None:
    accept, factor = arctangent(vector(1.0, 1 / 9, 1e30, 0.0), 2)
    torch.testing.assert_close(
        factor, vector(1.0, 1 + math.atan(2), 1 - math.pi / 4, 1 + math.pi / 2), rtol=1e-3, atol=0
    )
    assert accept.tolist() == [True, True, False, True]
    # an error of E is accepted where E^(-1/2) - 1 >= tan(-0.19)
    edge = (1 + math.tan(-0.19)) ** -2
    assert arctangent(vector(edge - 1e-4, edge + 1e-4), 2)[0].tolist() == [True, False]
    assert arctangent(vector(edge - 1e-4), 2, threshold=0.9)[0].tolist() == [False]
    torch.testing.assert_close(arctangent(vector(0.125), 3)[1], vector(1 + math.atan(1.0)), rtol=1e-6, atol=0)
    # k-diffusion's guard against an error of 0
    torch.testing.assert_close(arctangent(vector(0.0), 8)[1], vector(1 + math.atan(9.0)))


def test_bounded_has_limits_and_does_not_grow_after_a_rejection() -> None:
    error = vector(0.0, 1e-9, 0.5, 0.5, 1.0, 32.0, 1e9, 1e9)
    rejected = torch.tensor([False, False, False, True, False, False, False, True])
    accept, factor = bounded(error, 5, rejected)
    assert accept.tolist() == [True] * 4 + [False] * 4
    torch.testing.assert_close(factor, vector(10, 10, 0.9 * 2**0.2, 1.0, 0.9, 0.45, 0.2, 0.2))
    assert float(bounded(vector(0.99), 5, torch.tensor([True]))[1]) == pytest.approx(0.9 * 0.99**-0.2)


@pytest.mark.parametrize(
    ("y0", "rate", "span", "atol", "rtol"),
    [
        ([1.0, -2.0], 3.0, 5.0, 1e-3, 1e-2),
        ([100.0, 0.0], 0.01, 1.0, 1e-6, 1e-3),
        ([0.0, 0.0], 3.0, 5.0, 1e-3, 1e-2),  # no size
        ([1.0, 2.0], 0.0, 5.0, 1e-3, 1e-2),  # no slope
        ([1.0, 2.0], 1e-3, 0.5, 1e-3, 1e-2),  # the range is short
        ([1.0, 2.0], 0.0, 1e-8, 1e-3, 1e-2),
    ],
)
def test_first_step_is_scipys(y0: list[float], rate: float, span: float, atol: float, rtol: float) -> None:
    """For y' = -rate y + rate t^2, forwards in time."""

    def slope(t: Tensor, y: Tensor) -> Tensor:
        return -rate * y + rate * t.view(-1, 1) ** 2

    def numpy(t: float, y: np.ndarray) -> np.ndarray:
        return -rate * y + rate * t**2

    theirs = RK45(numpy, 0.0, np.array(y0), span, rtol=rtol, atol=atol).h_abs
    z = torch.stack([vector(*y0), vector(7.0, 7.0)])  # a second sample must not matter
    start = slope(torch.zeros(2, dtype=torch.float64), z)
    found = first_step(z, start, lambda h: slope(h, z + h.view(-1, 1) * start), span, 4, (atol, rtol))
    assert float(found[0]) == pytest.approx(theirs, rel=1e-12)
