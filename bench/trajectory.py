"""A teacher's states at the levels a coarser solver visits: what calibrated solvers are fitted to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.api import Denoiser, Solver, Unsupported
from bench.grids import Grid
from bench.probe import same_noise
from bench.process import Process

RHO = 7  # fine levels are even in sigma^{1/rho}, as on the Karras grid


def refined(levels: Sequence[float], scale: int, process: Process) -> Grid:
    """The grid through decreasing levels with ``scale`` intervals between neighbours."""
    roots = torch.tensor(levels, dtype=torch.float64) ** (1 / RHO)
    share = torch.arange(scale, dtype=torch.float64) / scale
    inner = roots[:-1, None] + share * (roots[1:] - roots[:-1])[:, None]  # (K, scale)
    sigma = torch.cat([inner.flatten(), roots[-1:]]) ** RHO
    sigma[::scale] = torch.tensor(levels, dtype=torch.float64)  # without the rounding of powers
    return Grid(sigma, process)


def trajectory(solver: Solver, denoise: Denoiser, x: Tensor, grid: Grid) -> list[Tensor]:
    """The states (B, ...) at every node: a solver of one evaluation per step shows them to the denoiser."""
    states: list[Tensor] = []

    def watched(x: Tensor, sigma: float | Tensor) -> Tensor:
        states.append(x.clone())
        return denoise(x, sigma)

    states.append(solver.integrate(watched, x, grid, same_noise(x)))
    if len(states) != len(grid):
        raise Unsupported("the teacher must be a solver of one evaluation per step")
    return states
