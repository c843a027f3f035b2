"""Preconditioning of Karras et al. 2022 (arXiv 2206.00364), Table 1 (column "Ours") and Eq. 7."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from bench.reuse import Memory, Part, Partial


class Coefficients(NamedTuple):
    """c_skip, c_out, c_in and c_noise, each of the shape of sigma."""

    skip: Tensor
    out: Tensor
    into: Tensor
    noise: Tensor


def coefficients(sigma: Tensor, sigma_data: float) -> Coefficients:
    """c_skip, c_out, c_in, c_noise of Table 1; `sigma` is positive.

    c_skip = sigma_data^2 / (sigma^2 + sigma_data^2)    c_out = sigma sigma_data / sqrt(sigma^2 + sigma_data^2)
    c_in = 1 / sqrt(sigma^2 + sigma_data^2)             c_noise = ln(sigma) / 4
    """
    total = (sigma**2 + sigma_data**2).sqrt()
    return Coefficients(
        skip=(sigma_data / total) ** 2,
        out=sigma * sigma_data / total,
        into=1 / total,
        noise=sigma.log() / 4,
    )


class EDMPrecond(nn.Module):
    """D(x, sigma) = c_skip x + c_out F(c_in x, c_noise, label)    (Eq. 7).

    Args:
        net: F; called as `net(x (B, C, H, W), c_noise (B,), label (B,))`.
        sigma_data: standard deviation of the data around its mean, over all pixels.
    """

    def __init__(self, net: nn.Module, sigma_data: float) -> None:
        super().__init__()
        self.net = net
        self.sigma_data = sigma_data

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        """x (B, C, H, W) = x0 + sigma eps, sigma (B,), label (B,) int64 -> x0_hat (B, C, H, W)."""
        c = coefficients(sigma.to(torch.float32), self.sigma_data)
        return _around(x, c, self.net(_wide(c.into) * x, c.noise, label))

    def partial(self, x: Tensor, t: Tensor, label: Tensor, memory: Memory, part: Part) -> Tensor:
        """See ``bench.reuse.Partial``; t is sigma, and the network inside must be one as well."""
        c = coefficients(t.to(torch.float32), self.sigma_data)
        net = cast(Partial, self.net)
        return _around(x, c, net.partial(_wide(c.into) * x, c.noise, label, memory, part))


def _wide(value: Tensor) -> Tensor:
    return value.view(-1, 1, 1, 1)


def _around(x: Tensor, c: Coefficients, f: Tensor) -> Tensor:
    """Eq. 7 for the network's output."""
    return _wide(c.skip) * x + _wide(c.out) * f
