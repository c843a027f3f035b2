"""The loss of Eq. 8, the law of the noise levels, and label dropout."""

import math

import pytest
import torch
from torch import Generator, Tensor, nn

from bench.nets.loss import drop_labels, edm_loss, lognormal_sigmas
from bench.nets.precond import EDMPrecond

SIGMA_DATA = 0.5


class Zero(nn.Module):
    def forward(self, x: Tensor, _noise: Tensor, _label: Tensor) -> Tensor:
        return torch.zeros_like(x)


def test_loss_of_the_ideal_denoiser_of_a_gaussian_is_one() -> None:
    # x0 ~ N(0, sigma_data^2): D = c_skip x is ideal and its weighted error has expectation 1 at every sigma
    generator = Generator().manual_seed(0)
    shape = (4000, 1, 8, 8)
    x0 = SIGMA_DATA * torch.randn(shape, generator=generator)
    noise = torch.randn(shape, generator=generator)
    for sigma in (0.002, 0.5, 80.0):
        level = torch.full((shape[0],), sigma)
        label = torch.zeros(shape[0], dtype=torch.int64)
        loss = edm_loss(EDMPrecond(Zero(), SIGMA_DATA), x0, label, level, noise)
        assert loss.item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("count", [1, 7, 128])
def test_sigmas_are_lognormal_and_stratified(count: int) -> None:
    mean, std = -0.6, 1.5
    generator = Generator().manual_seed(0)
    draws = torch.stack([lognormal_sigmas(count, mean, std, generator) for _ in range(2000)])
    z = (draws.double().log() - mean) / std
    assert z.isfinite().all()
    assert z.mean().item() == pytest.approx(0.0, abs=0.08)
    assert z.std().item() == pytest.approx(1.0, abs=0.08)
    u = torch.special.ndtr(z)
    slices = (u * count).floor().clamp(0, count - 1)
    wrong = (slices != torch.arange(count)).double().mean().item()
    assert wrong < 1e-3  # float32 at the edges of the slices


def test_sigmas_come_from_the_generator_alone() -> None:
    one, two = (lognormal_sigmas(5, 0.0, 1.0, Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(one, two)
    assert math.isfinite(one.sum().item())


def test_label_dropout() -> None:
    label = torch.arange(10).repeat(2000)
    dropped = drop_labels(label, 10, 0.1, Generator().manual_seed(0))
    assert (dropped == 10).double().mean().item() == pytest.approx(0.1, abs=0.01)
    assert torch.equal(dropped[dropped != 10], label[dropped != 10])
    assert torch.equal(drop_labels(label, 10, 0.0, Generator()), label)
