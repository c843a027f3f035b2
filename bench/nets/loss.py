"""The denoising loss of Karras et al. 2022 (arXiv 2206.00364), Eq. 8, and its noise levels."""

import torch
from torch import Generator, Tensor

from bench.nets.precond import EDMPrecond


def lognormal_sigmas(count: int, mean: float, std: float, generator: Generator) -> Tensor:
    """ln(sigma) ~ N(mean, std^2), stratified: one draw in each of `count` slices of equal probability.

    Each sigma has the lognormal law of Eq. 8; only the draws within a batch are negatively correlated. Every
    batch then reaches both tails, which matters for a solver that starts at sigma = 80.
    """
    u = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    # float32 rounds the last slice up to 1 now and then, whose quantile is infinite
    normal: Tensor = torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6))
    return (mean + std * normal).exp()  # (count,)


def edm_loss(denoiser: EDMPrecond, x0: Tensor, label: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    """mean of lambda(sigma) |D(x0 + sigma eps, sigma) - x0|^2, lambda = 1 / c_out^2    (Eq. 8, Table 1).

    Args:
        denoiser: D, with its sigma_data.
        x0, noise: clean images and standard normal eps, (B, C, H, W).
        label, sigma: (B,).
    """
    sigma_data = denoiser.sigma_data
    s = sigma.view(-1, 1, 1, 1)
    weight = (s**2 + sigma_data**2) / (s * sigma_data) ** 2
    error: Tensor = denoiser(x0 + s * noise, sigma, label) - x0  # (B, C, H, W)
    return (weight * error**2).mean()


def drop_labels(label: Tensor, null: int, share: float, generator: Generator) -> Tensor:
    """Replace a random share of labels by the null label (Ho & Salimans 2022, arXiv 2207.12598, Alg. 1)."""
    dropped = torch.rand(label.shape, generator=generator) < share
    return torch.where(dropped, null, label)
