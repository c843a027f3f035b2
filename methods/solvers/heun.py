r"""Heun's method as in EDM: the trapezoidal rule, with an Euler step where the grid ends in 0.

Update from ``sigma_s`` to ``sigma_t``, with ``d(x, sigma) = (x - D(x, sigma)) / sigma``:

    x' = x + (sigma_t - sigma_s) d(x, sigma_s)
    x_t = x + (sigma_t - sigma_s) (d(x, sigma_s) + d(x', sigma_t)) / 2        if sigma_t > 0, else x'

Karras, Aittala, Aila and Laine 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", arXiv
2206.00364, Algorithm 1. N intervals cost 2N - 1 evaluations on a grid that ends in 0 and 2N on one that ends above.
The paper appends 0 after ``sigma_min``: that is ``grid=karras[end=append]``; the default grid replaces ``sigma_min``
by 0, as for every solver here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver, Unsupported
from bench.grids import ends_in_zero
from bench.rng import SampleNoise

INFO = Info(
    summary="Second-order trapezoidal rule; two evaluations per step, one in a step to 0.",
    family="solvers",
    papers=(
        Paper(
            title="Elucidating the Design Space of Diffusion-Based Generative Models",
            authors="Tero Karras and Miika Aittala and Timo Aila and Samuli Laine",
            year=2022,
            arxiv="2206.00364",
            equation="Algorithm 1",
            code="NVlabs/edm",
        ),
    ),
)


class Heun(Solver):
    """The solver; its only parameter is the grid."""

    @property
    def declared_order(self) -> int:
        return 2

    def intervals(self, nfe: int) -> int:
        saved = int(ends_in_zero(self.grid))
        if (nfe + saved) % 2:
            near = f"{nfe - 1} or {nfe + 1}" if nfe > 1 else f"{nfe + 1}"
            raise Unsupported(f"N steps on this grid take {'2N - 1' if saved else '2N'} evaluations; use nfe {near}")
        return (nfe + saved) // 2

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        for sigma_s, sigma_t in grid.steps():
            x0_hat = denoise(x, sigma_s)
            euler = torch.lerp(x0_hat, x, sigma_t / sigma_s)
            if sigma_t == 0:
                return euler
            # x' + (sigma_t - sigma_s) (d(x', sigma_t) - d(x, sigma_s)) / 2
            half = (sigma_s - sigma_t) / 2
            ahead = euler - denoise(euler, sigma_t)
            x = euler.add(x - x0_hat, alpha=half / sigma_s).sub_(ahead, alpha=half / sigma_t)
        return x
