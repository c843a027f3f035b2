"""Sequences of equal decisions are known solvers; mixed ones keep their order."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.grids import Grid, make_grid
from bench.process import EDM
from bench.registry import create
from bench.rng import SampleNoise
from bench.suites.mixture import mixture
from bench.unified import Decision, integrate

X = 80 * torch.randn(8, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
NOISE = SampleNoise(("unified", 0, "method"), range(8), (2,), torch.float64)


def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
    return mixture("mixture-2d").denoise(x, sigma)


@pytest.mark.parametrize("end", ["zero", "sigma_min"])
@pytest.mark.parametrize("steps", [1, 2, 3, 6])
@pytest.mark.parametrize(
    ("decision", "solver"),
    [
        (Decision(order=1), "ddim"),
        (Decision(order=1, noise=True), "ddim"),
        (Decision(order=2), "dpm_solver_pp[solver_type=heun]"),
        (Decision(order=2, noise=True), "deis[variant=logrho,order=2]"),
        (Decision(order=3, noise=True), "deis[variant=logrho,order=3]"),
    ],
)
def test_equal_decisions_are_a_known_solver(decision: Decision, solver: str, steps: int, end: str) -> None:
    grid = make_grid(f"karras[end={end}]", steps, 0.002, 80.0, EDM())
    expected = create("method", solver).integrate(denoise, X, grid, NOISE)
    torch.testing.assert_close(integrate(denoise, X, grid.nodes, [decision] * steps), expected, rtol=1e-9, atol=1e-9)


def test_order_three_needs_no_factor() -> None:
    """Third-order data steps are DPM-Solver++(3M) with its repaired formula, but for the second step, which is 2M's."""
    grid = make_grid("karras", 6, 0.002, 80.0, EDM())
    expected = create("method", "dpm_solver_pp[order=3,fix_3m=true,solver_type=heun]").integrate(
        denoise, X, grid, NOISE
    )
    torch.testing.assert_close(integrate(denoise, X, grid.nodes, [Decision(order=3)] * 6), expected)


def warped(n: int) -> Grid:
    from bench.convergence import make

    return make("uneven", n)


@pytest.mark.parametrize(
    ("cycle", "order"),
    [
        ((Decision(order=1),), 1),
        ((Decision(order=2), Decision(order=2, noise=True)), 2),
        ((Decision(order=3), Decision(order=3, noise=True)), 3),
        ((Decision(order=1, corrected=True), Decision(order=1, noise=True, corrected=True)), 2),
        ((Decision(order=2, corrected=True), Decision(order=2, noise=True, corrected=True)), 3),
    ],
)
def test_order_with_mixed_prediction_types(cycle: tuple[Decision, ...], order: int) -> None:
    """Data and noise steps alternate: the history must serve both, and a corrected state must be the one it holds."""
    from bench.convergence import _initial, _reference

    errors = []
    for n in (128, 256, 512):
        decisions = [cycle[i % len(cycle)] for i in range(n)]
        found = integrate(denoise, _initial(), warped(n).nodes, decisions)
        errors.append(float((found - _reference()).square().mean().sqrt()))
    slope = math.log2(errors[0] / errors[2]) / 2
    assert slope == pytest.approx(order, abs=0.2)


def test_corrected_step_by_hand() -> None:
    """Two steps, order 1, the first one corrected: the line through D at both ends, integrated exactly."""
    nodes, calls = [2.0, 1.0, 0.0], []
    first, second = torch.full((1, 1), 3.0), torch.full((1, 1), -1.0)

    def given(x: Tensor, sigma: float | Tensor) -> Tensor:
        calls.append(float(x))
        return first if len(calls) == 1 else second

    x = torch.full((1, 1), 10.0)
    found = integrate(given, x, [*nodes[:2], 0.5, 0.0], [Decision(1, corrected=True), Decision(1), Decision(1)])
    assert calls[1] == pytest.approx(0.5 * 10 + 0.5 * 3)
    h = math.log(2)
    # int_0^h e^{t-h} (3 + (-1 - 3) t/h) dt
    corrected = 0.5 * 10 + 3 * 0.5 - 4 * (1 - 0.5 / h)
    assert calls[2] == pytest.approx(0.5 * corrected + 0.5 * -1)
    assert torch.equal(found, second)
