"""Flow coordinates against the closed-form solution for a Gaussian."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.flow import Flow, Path

SIGMA_MAX, MEAN, STD = 80.0, 0.4, 0.7
FLOW = Flow(lambda x, sigma: MEAN + STD**2 / (STD**2 + sigma**2) * (x - MEAN), SIGMA_MAX)
X = SIGMA_MAX * torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def exact(t: Tensor) -> Tensor:
    """y(t) = tau x(sigma), x(sigma) = mean + sqrt((std^2 + sigma^2) / (std^2 + sigma_max^2)) (x - mean)."""
    tau = FLOW.tau(t)
    sigma = (1 - tau) / tau
    return tau * (MEAN + ((STD**2 + sigma**2) / (STD**2 + SIGMA_MAX**2)).sqrt() * (X - MEAN))


def path(intervals: int) -> Path:
    u = torch.linspace(1, 0, intervals + 1, dtype=torch.float64)
    return Path.solve(FLOW, X, SIGMA_MAX * u**4)


def test_time_and_tau_are_inverse() -> None:
    sigma = torch.tensor([80.0, 3.0, 0.1, 0.0], dtype=torch.float64)
    torch.testing.assert_close(1 / FLOW.tau(FLOW.time(sigma)) - 1, sigma, rtol=1e-12, atol=1e-15)
    assert FLOW.time(sigma)[[0, 3]].tolist() == [0, 1]


def test_velocity_is_the_derivative_of_the_solution() -> None:
    for t in (0.0, 0.3, 0.9):
        at, h = torch.tensor(t, dtype=torch.float64), 1e-6
        slope = (exact(at + h) - exact(at - h)) / (2 * h)
        torch.testing.assert_close(FLOW.velocity(t, exact(at)), slope, rtol=1e-6, atol=1e-6)


def test_path_converges_with_order_2_to_the_solution() -> None:
    errors = []
    for intervals in (50, 100, 200):
        found = path(intervals)
        errors.append(max(float((found.at(t)[0] - exact(t)).abs().max()) for t in found.t[:-1:5]))
    assert errors[0] / errors[1] > 3.5
    assert errors[1] / errors[2] > 3.5
    assert float((path(200).y[-1] - exact(torch.ones((), dtype=torch.float64))).abs().max()) < 1e-3


@pytest.mark.parametrize("t", [0.003, 0.21, 0.77])
def test_interpolant_is_differentiated(t: float) -> None:
    found = path(60)
    at = torch.tensor(t, dtype=torch.float64, requires_grad=True)
    y, u = found.at(at)
    (slope,) = torch.autograd.grad(y.sum(), at)
    torch.testing.assert_close(slope, u.sum().detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(u.detach(), FLOW.velocity(t, y.detach()), rtol=0.02, atol=0.02)
