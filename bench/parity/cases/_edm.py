"""NVlabs/edm on our problem; several solvers are compared with it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.parity.authors import load
from bench.parity.base import Setup

STAND_INS = ("click", "tqdm", "PIL", "PIL.Image", "dnnlib", "torch_utils", "torch_utils.distributed")


class Net:
    """The network as that code sees it."""

    sigma_min, sigma_max = 0.0, float("inf")

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def round_sigma(self, sigma: Tensor) -> Tensor:
        """No rounding: any level is supported."""
        return torch.as_tensor(sigma)

    def __call__(self, x: Tensor, sigma: Tensor, labels: object = None) -> Tensor:
        """``D(x, sigma)``."""
        return self.setup.denoise(x, float(sigma))


def edm(setup: Setup, name: str, **options: Any) -> Tensor:
    """The final state (8, 2) of a sampler of ``generate.py``; it makes its own grid, ``karras[end=append]``.

    It draws at every step; the draws are multiplied with 0 unless ``S_churn`` is set.
    """
    module = load(setup, "generate", STAND_INS)
    nodes = setup.grid.nodes
    found: Tensor = getattr(module, name)(
        Net(setup),
        setup.x / nodes[0],
        randn_like=lambda x: setup.noise.normal() if options.get("S_churn") else torch.zeros_like(x),
        num_steps=len(nodes) - 1,
        sigma_min=nodes[-2],
        sigma_max=nodes[0],
        **options,
    )
    return found
