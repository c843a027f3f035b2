"""The noise schedule of the text-to-image model, as diffusers' schedulers build it from the same numbers."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

SCHEDULE: Final[dict[str, Any]] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "timestep_spacing": "trailing",
}
"""Stable Diffusion's (Rombach et al. 2022, arXiv 2112.10752), with v-prediction."""


def alpha_bars() -> Tensor:
    """(1000,) float32: the share of signal in the variance at each timestep, bit for bit as diffusers has it."""
    first, last, steps = SCHEDULE["beta_start"], SCHEDULE["beta_end"], SCHEDULE["num_train_timesteps"]
    betas = torch.linspace(first**0.5, last**0.5, steps, dtype=torch.float32) ** 2
    return torch.cumprod(1.0 - betas, dim=0)
