"""A small network for the diagonal of a denoiser's Jacobian, positive, as a function of its weights.

For data of standard deviation s the diagonal is about ``j = s^2 / (s^2 + sigma^2)`` (exactly, if they are an isotropic
Gaussian); the head gives its ratio to j from x, D and log sigma, through three layers: convolutions of 3x3 pixels for
images (B, C, H, W), else fully connected ones on the flattened state. The weights are a plain mapping: nothing but a
product of matrices happens in a sampler, and no generator is touched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

LAYERS = 3


def new_head(shape: tuple[int, ...], width: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights of a head for samples of a shape; its output is ``j`` before training."""
    image = len(shape) == 3
    size = shape[0] if image else math.prod(shape)
    widths = [2 * size + 1, *[width] * (LAYERS - 1), size]
    weights = {}
    for k in range(LAYERS):
        kernel = (3, 3) if image else ()
        fan_in = widths[k] * math.prod(kernel)
        scale = fan_in**-0.5 if k < LAYERS - 1 else 0.0
        weights[f"weight{k}"] = scale * torch.randn(widths[k + 1], widths[k], *kernel, generator=generator)
        weights[f"bias{k}"] = torch.zeros(widths[k + 1])
    return weights


def head(weights: Mapping[str, Tensor], x: Tensor, x0_hat: Tensor, sigma: float) -> Tensor:
    """``h / j`` (B, ...), positive."""
    s = weights["scale"]
    image = x.ndim == 4
    parts = [x / (s**2 + sigma**2).sqrt(), x0_hat / s]
    parts = parts if image else [part.flatten(1) for part in parts]
    out = torch.cat([*parts, torch.full_like(parts[0][:, :1], math.log(sigma) / 4)], 1)
    for k in range(LAYERS):
        weight, bias = weights[f"weight{k}"], weights[f"bias{k}"]
        out = F.conv2d(out, weight, bias, padding=1) if image else F.linear(out, weight, bias)
        out = F.silu(out) if k < LAYERS - 1 else F.softplus(out + math.log(math.e - 1))
    return out.view_as(x)


def share(scale: Tensor, sigma: float) -> Tensor:
    """``j``."""
    return scale**2 / (scale**2 + sigma**2)
