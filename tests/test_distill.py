"""What the distilled students share."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.distill import ddim, ddim_step, heun_step, pseudo_huber

S = 0.5  # standard deviation of the Gaussian data


def gaussian(x: Tensor, sigma: float | Tensor) -> Tensor:
    gain = S**2 / (S**2 + torch.as_tensor(sigma, dtype=x.dtype) ** 2)
    return gain.reshape(-1, *[1] * (x.ndim - 1)) * x


def exact(x: Tensor, sigma_s: float, sigma_t: float) -> Tensor:
    return x * math.sqrt((S**2 + sigma_t**2) / (S**2 + sigma_s**2))


def level(sigma: float) -> Tensor:
    return torch.full((3,), sigma, dtype=torch.float64)


def test_a_ddim_step_to_zero_is_the_prediction_and_a_step_of_no_length_is_nothing() -> None:
    x, x0 = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ddim_step(x, x0, level(2.0), level(0.0)), x0)
    torch.testing.assert_close(ddim_step(x, x0, level(2.0), level(2.0)), x)


def test_a_ddim_step_follows_a_straight_line_exactly() -> None:
    x0, eps = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ddim_step(x0 + 3 * eps, x0, level(3.0), level(0.7)), x0 + 0.7 * eps)


def test_noise_levels_are_per_sample() -> None:
    x0, eps = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    s, t = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64), torch.tensor([0.5, 0.0, 0.9], dtype=torch.float64)
    torch.testing.assert_close(ddim_step(x0 + s[:, None] * eps, x0, s, t), x0 + t[:, None] * eps)


def test_heuns_local_error_is_of_third_order() -> None:
    x = torch.ones(3, 1, dtype=torch.float64)
    errors = []
    for h in (0.04, 0.02):
        errors.append(float((heun_step(gaussian, x, level(1.0), level(1 - h)) - exact(x, 1.0, 1 - h)).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(3, abs=0.15)


def test_ddim_makes_one_call_an_interval_and_converges_with_order_one() -> None:
    x = torch.ones(3, 1, dtype=torch.float64)
    errors, calls = [], []
    for n in (64, 128):
        seen: list[float] = []

        def counted(state: Tensor, sigma: float | Tensor, seen: list[float] = seen) -> Tensor:
            seen.append(float(sigma))
            return gaussian(state, sigma)

        nodes = torch.linspace(2.0, 0.1, n + 1, dtype=torch.float64).tolist()
        errors.append(float((ddim(counted, x, nodes) - exact(x, 2.0, 0.1)).abs().max()))
        calls.append(len(seen))
        assert seen == nodes[:-1]
    assert calls == [64, 128]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.15)


def test_pseudo_huber_is_the_norm_far_out_and_a_parabola_near_zero() -> None:
    c = 0.00054 * math.sqrt(16)
    far = torch.full((2, 4, 4), 5.0, dtype=torch.float64)
    near = far * 1e-7
    torch.testing.assert_close(pseudo_huber(far), far.flatten(1).norm(dim=1) - c, atol=1e-6, rtol=0)
    torch.testing.assert_close(pseudo_huber(near), near.flatten(1).square().sum(1) / (2 * c), atol=0, rtol=1e-4)
    assert pseudo_huber(torch.zeros(1, 3)).tolist() == [0.0]
