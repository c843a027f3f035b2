"""Preconditioning of Karras et al. 2022 (arXiv 2206.00364), Table 1 (column "Ours") and Eq. 7."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


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
        wide = (-1, 1, 1, 1)
        f: Tensor = self.net(c.into.view(wide) * x, c.noise, label)
        return c.skip.view(wide) * x + c.out.view(wide) * f
