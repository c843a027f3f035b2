"""Closed forms of Karras et al. 2022: Table 1, Eq. 7, and the requirements they follow from (App. B.6)."""

import math

import pytest
import torch
from torch import Generator, Tensor, nn

from bench.nets.precond import EDMPrecond, coefficients

SIGMAS = torch.tensor([0.002, 0.1, 0.75, 3.0, 80.0])
SIGMA_DATA = 0.75


class Constant(nn.Module):
    """F = value, whatever it is asked; keeps what it was given."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value
        self.seen: tuple[Tensor, Tensor, Tensor] | None = None

    def forward(self, x: Tensor, noise: Tensor, label: Tensor) -> Tensor:
        self.seen = (x, noise, label)
        return torch.full_like(x, self.value)


def batch(count: int = 5) -> tuple[Tensor, Tensor]:
    generator = Generator().manual_seed(0)
    return torch.randn(count, 2, 4, 4, generator=generator), torch.arange(count)


def test_input_has_unit_variance() -> None:
    c = coefficients(SIGMAS, SIGMA_DATA)
    std = (SIGMAS**2 + SIGMA_DATA**2).sqrt()
    torch.testing.assert_close(c.into * std, torch.ones(5))


def test_training_target_has_unit_variance() -> None:
    # target = (x0 - c_skip (x0 + sigma eps)) / c_out, with Var x0 = sigma_data^2, Var eps = 1
    c = coefficients(SIGMAS.double(), SIGMA_DATA)
    variance = ((1 - c.skip) * SIGMA_DATA) ** 2 + (c.skip * SIGMAS.double()) ** 2
    torch.testing.assert_close(variance / c.out**2, torch.ones(5, dtype=torch.float64))


def test_at_sigma_data_the_coefficients_are_known() -> None:
    c = coefficients(torch.tensor([SIGMA_DATA]), SIGMA_DATA)
    expected = (0.5, SIGMA_DATA / math.sqrt(2), 1 / (SIGMA_DATA * math.sqrt(2)), math.log(SIGMA_DATA) / 4)
    assert [v.item() for v in c] == pytest.approx(expected)


def test_no_noise_returns_the_input() -> None:
    x, label = batch()
    out = EDMPrecond(Constant(1.0), SIGMA_DATA)(x, torch.full((5,), 1e-6), label)
    torch.testing.assert_close(out, x, atol=2e-6, rtol=0)


def test_all_noise_returns_the_network() -> None:
    x, label = batch()
    out = EDMPrecond(Constant(0.5), SIGMA_DATA)(x, torch.full((5,), 1e6), label)
    torch.testing.assert_close(out, torch.full_like(x, 0.5 * SIGMA_DATA))


def test_a_gaussian_needs_no_network() -> None:
    # for x0 ~ N(0, sigma_data^2) the ideal denoiser is c_skip x, so F = 0 is exact
    x, label = batch()
    out = EDMPrecond(Constant(0.0), SIGMA_DATA)(x, SIGMAS, label)
    shrink = SIGMA_DATA**2 / (SIGMA_DATA**2 + SIGMAS**2)
    torch.testing.assert_close(out, shrink.view(-1, 1, 1, 1) * x)


def test_the_network_sees_scaled_input_and_log_noise() -> None:
    x, label = batch()
    net = Constant(0.0)
    EDMPrecond(net, SIGMA_DATA)(x, SIGMAS, label)
    assert net.seen is not None
    scale = (SIGMAS**2 + SIGMA_DATA**2).rsqrt().view(-1, 1, 1, 1)
    torch.testing.assert_close(net.seen[0], x * scale)
    torch.testing.assert_close(net.seen[1], SIGMAS.log() / 4)
    assert torch.equal(net.seen[2], label)


def test_float64_sigma_does_not_leak_into_the_network() -> None:
    x, label = batch()
    net = Constant(0.0)
    assert EDMPrecond(net, SIGMA_DATA)(x, SIGMAS.double(), label).dtype == torch.float32
    assert net.seen is not None
    assert net.seen[1].dtype == torch.float32
