"""Products with the Jacobian of a denoiser: forward differentiation where the teacher allows it, differences elsewhere.

With ``v`` of independent signs, ``E[v * (J v)]`` is the diagonal of ``J = dD/dx`` (Hutchinson's estimator; Bekas,
Kokiopoulou and Saad 2007), and in exact arithmetic ``J = Cov[x0 | x] / sigma^2`` for the posterior mean D.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.denoiser import Denoiser

STEP = 0.02
"""Step of central differences: in units of sigma along v, and in log sigma along the flow."""


def jacobian_product(denoise: Denoiser, x: Tensor, sigma: float, v: Tensor) -> tuple[Tensor, Tensor]:
    """``(D, J v)`` at one noise level, for x and v (B, ...).

    One denoiser call, whose forward pass carries a tangent. A teacher that cannot be differentiated forward, or that
    hands no tangent on, is asked twice more, for a central difference.
    """
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
            # fused attention has no forward derivative; torch warns of its own use of torch.jit, once
            warnings.filterwarnings("ignore", message=".*torch.jit")
            found = torch.func.jvp(lambda y: denoise(y, sigma), (x,), (v,))
            x0_hat, product = found[0], found[1]
        if bool(product.any()):
            return x0_hat, product
    except (NotImplementedError, RuntimeError):  # what torch raises differs between operations
        x0_hat = denoise(x, sigma)
    step = STEP * sigma
    return x0_hat, (denoise(x + step * v, sigma) - denoise(x - step * v, sigma)) / (2 * step)


def flow_derivative(denoise: Denoiser, x: Tensor, sigma: float, x0_hat: Tensor, sigma_max: float) -> Tensor:
    """``dD / d lambda`` (B, ...) along the probability flow ``dx / d lambda = D - x``, ``lambda = -log sigma``.

    A difference of two denoiser calls, central but for levels within a step of ``sigma_max``: the noise level of a
    teacher need not be differentiable.
    """
    ends = []
    for level in (min(sigma * (1 + STEP), sigma_max), sigma / (1 + STEP)):
        shift = math.log(sigma / level)
        ends.append((shift, denoise(x + shift * (x0_hat - x), level)))
    (before, first), (after, second) = ends
    return (second - first) / (after - before)
