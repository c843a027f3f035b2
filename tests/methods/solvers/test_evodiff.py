"""EVODiff: its formulas by hand, channels that do not see each other, and its limits."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.errors import UsageError
from bench.grids import Grid
from bench.process import EDM
from bench.registry import create
from methods.solvers.evodiff import EVODiff, project

Make = Callable[..., Grid]


def grid(*levels: float) -> Grid:
    return Grid(torch.tensor(levels, dtype=torch.float64), EDM())


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def last(x: float, m0: float, m1: float, s: float, t: float, shrink: bool = True) -> float:
    """The step to the end of the grid, for one pixel."""
    ratio = t / s
    c = 1 - 0.5 * math.sqrt(ratio) if ratio < 0.5 else 1 - 0.5 * math.sqrt(ratio - 0.5)
    ddim = ratio * x + (1 - ratio) * m0
    return (1 - math.sqrt(t * s) * shrink) * ddim + 0.5 * (1 - ratio) * (m0 - c * m1)


def clip(value: float) -> float:
    return max(-2.0, min(2.0, value))


def by_hand(predictions: list[float], x: float, levels: list[float], many: bool, shrink: bool) -> tuple[float, float]:
    """One pixel, four levels, the three predictions given; returns the probe and the end."""
    s1, s0, t, end = levels
    m1, m0, mt = predictions
    x = s0 / s1 * x + (1 - s0 / s1) * m1
    h = 1 / t - 1 / s0
    euler = t / s0 * x + t * h * m0
    r = math.log(s1 / s0) / math.log(s0 / t)
    w = 0.5 * (1 - ((t + end) / (s1 + end)) ** 2)
    base = math.sqrt((t / s0) / (s0 / s1))
    r1 = (1 - w) * base + w * clip(m0 / m1)
    d1 = m0 - r1 * m1
    ri = min(max(sigmoid(0.25 * abs(r1)) * r, 0.25 * r), 1.5 * r)
    probe = euler + 0.5 * t * h / ri * d1
    r2 = (1 - w) * base + w * clip(mt / m0)
    d2 = mt - r2 * m0
    before, after = d1 / r / h, r / h * d2
    eta = 0.5 * sigmoid(abs(0.5 * clip((after + before) / (after - before))))
    slope = -eta / r * d1 + r * (1 - eta) * d2
    shift = abs(clip((probe - euler - 0.5 * t * h / ri * slope) / d1) / (h * t)) - 0.5
    zeta = sigmoid(shift)
    if many:
        zeta = sigmoid(-shift * sigmoid(clip(m0 / ((m0 - m1) / h)) * (2 - (t / s0) ** 2)))
    x = euler + 0.5 * t * h / zeta * slope
    return probe, last(x, mt, m0, t, end, shrink)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(
    ("levels", "shrink"),
    [
        ([5.0, 2.0, 0.9, 0.1], False),
        ([1.0, 0.8, 0.5, 0.3], False),
        ([9.0, 1.0, 0.7, 0.05], True),
        ([0.9, 0.4, 0.1, 0.06], True),
    ],
)
@pytest.mark.parametrize("predictions", [[0.4, 0.9, 1.1], [-0.5, 0.3, 0.2], [1.0, 0.9, -0.8]])
def test_one_pixel_by_hand(predictions: list[float], levels: list[float], shrink: bool, many: bool) -> None:
    seen: list[float] = []

    def given(x: Tensor, sigma: float) -> Tensor:
        seen.append(float(x[0, 0, 0, 0]))
        return torch.full_like(x, predictions[levels.index(sigma)])

    x = torch.full((2, 1, 1, 1), 3.0, dtype=torch.float64)
    end = EVODiff(zeta="many" if many else "few", shrink=shrink).integrate(given, x, grid(*levels), None)
    probe, expected = by_hand(predictions, 3.0, levels, many, shrink)
    assert seen[2] == pytest.approx(probe, rel=1e-12)
    assert float(end[0, 0, 0, 0]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("levels", "shrink"),
    [([3.0, 2.0, 1.1], False), ([3.0, 2.0, 1.0], False), ([3.0, 2.0, 0.01], True), ([3.0, 2.0, 0.0], True)],
)
def test_two_steps_by_hand(levels: list[float], shrink: bool) -> None:
    x = torch.full((1, 3), 1.5, dtype=torch.float64)
    end = EVODiff(shrink=shrink).integrate(lambda x, sigma: torch.full_like(x, 0.2 * sigma), x, grid(*levels), None)
    middle = 2 / 3 * 1.5 + (1 - 2 / 3) * 0.6
    expected = last(middle, 0.4, 0.6, 2.0, levels[-1], shrink)
    torch.testing.assert_close(end, torch.full_like(x, expected), rtol=1e-12, atol=0)
    if levels[-1] == 0:
        assert expected == pytest.approx(0.4 + (0.4 - 0.6) / 2)


def test_grids_that_end_in_noise_are_refused(denoise, noise) -> None:
    """Where sqrt(sigma_t sigma_0) is above 0.2."""
    x = noise()
    EVODiff().integrate(denoise, x, grid(1.0, 0.4, 0.0999), None)
    with pytest.raises(Unsupported, match=r"leave 0\.8 of the state; use shrink=false"):
        EVODiff().integrate(denoise, x, grid(1.0, 0.4, 0.1001), None)
    EVODiff(shrink=False).integrate(denoise, x, grid(1.0, 0.4, 0.3), None)
    assert EVODiff().shrink is True


def test_one_step_is_ddim(denoise, noise) -> None:
    x = 3 * noise()
    for low in (0.0, 0.5):
        end = EVODiff().integrate(denoise, x, grid(3.0, low), None)
        torch.testing.assert_close(end, denoise(x, 3.0) + low / 3 * (x - denoise(x, 3.0)), rtol=1e-12, atol=1e-12)


def test_projection() -> None:
    a = torch.tensor([[[1.0, 2.0]], [[3.0, 30.0]]]).expand(2, 2, 2).clone()
    b = torch.tensor([[[2.0, 0.0]], [[1.0, 1.0]]]).expand(2, 2, 2).clone()
    b[1, 1] = 0
    assert project(a, b).tolist() == [[[0.5], [0.5]], [[2.0], [0.0]]]
    assert project(-a, b).tolist() == [[[-0.5], [-0.5]], [[-2.0], [0.0]]]
    # a vector is one channel
    assert project(a[:, 0], b[:, 0]).tolist() == [[0.5], [2.0]]
    pictures = torch.arange(24.0).view(1, 2, 3, 4) + 1
    expected = [float((c * (c + 1)).sum() / (c + 1).square().sum()) for c in pictures[0]]
    assert project(pictures, pictures + 1).flatten().tolist() == pytest.approx(expected)
    assert project(pictures, pictures + 1).shape == (1, 2, 1, 1)


def test_channels_do_not_see_each_other(uneven: Make) -> None:
    def each(x: Tensor, sigma: float) -> Tensor:
        return torch.tanh(x / (0.3 + sigma**2))

    x = 5 * torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = EVODiff().integrate(each, x, uneven(7, 5.0, 0.02), None)
    apart = EVODiff().integrate(each, x.view(6, 16), uneven(7, 5.0, 0.02), None)
    torch.testing.assert_close(together, apart.view_as(x), rtol=1e-10, atol=1e-10)


def test_the_switch_is_above_twenty_steps(denoise, noise, karras: Make) -> None:
    x = 10 * noise()
    ends = {
        (steps, zeta): EVODiff(zeta=zeta).integrate(denoise, x, karras(steps), None)
        for steps in (20, 21)
        for zeta in ("auto", "few", "many")
    }
    assert torch.equal(ends[20, "auto"], ends[20, "few"])
    assert torch.equal(ends[21, "auto"], ends[21, "many"])
    assert float((ends[21, "few"] - ends[21, "many"]).abs().max()) > 1e-6


def test_evaluations_and_constant_predictions(uneven: Make) -> None:
    """One call per interval; a prediction of 0, on which nothing can be projected, gives no NaN."""
    levels: list[float] = []

    def zero(x: Tensor, sigma: float) -> Tensor:
        levels.append(sigma)
        return torch.zeros_like(x)

    end = EVODiff().integrate(zero, torch.ones(2, 3), uneven(6), None)
    assert levels == uneven(6).nodes[:-1]
    scale = 0.05 / 5.0 * (1 - math.sqrt(uneven(6).nodes[-2] * uneven(6).nodes[-1]))
    torch.testing.assert_close(end, torch.full((2, 3), scale), rtol=1e-5, atol=0)


def test_no_order_and_bad_parameters() -> None:
    assert EVODiff().declared_order is None
    with pytest.raises(UsageError):
        create("method", "evodiff[zeta=none]")
