"""Dynamic thresholding of predicted clean data (Saharia et al. 2022, arXiv 2205.11487, Sec. 2.3)."""

from __future__ import annotations

import torch
from torch import Tensor


def dynamic_threshold(x0_hat: Tensor, quantile: float) -> Tensor:
    """Clip each sample to ``[-s, s]`` and divide by s, the quantile of its absolute values or 1 if that is larger.

    Meant for data in [-1, 1], never for latents.

    Args:
        x0_hat: (B, ...) prediction.
        quantile: such as 0.995; 0 returns ``x0_hat`` as it is.
    """
    if not quantile:
        return x0_hat
    s = torch.quantile(x0_hat.abs().flatten(1), quantile, dim=1).clamp_min(1)
    s = s.view(-1, *[1] * (x0_hat.ndim - 1))
    return torch.clamp(x0_hat, -s, s) / s
