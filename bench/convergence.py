r"""The measured order of a solver: the slope of its error against the number of steps, on an exact denoiser.

The teacher is a Gaussian mixture in closed form, the reference a Runge-Kutta solution of order 8 (DOP853) with
tolerance 1e-13, all in float64. Two families of grids, both refined by sampling one fixed map ``sigma(u)``, u in [0,
1], at more points:

* ``karras``: smooth;
* ``uneven``: a Karras grid whose u is warped by a piecewise-linear map with eight random slopes between 1 and 4, so
  that the step changes by jumps, and a weight that holds for equal or slowly changing steps only shows.

Grids run from sigma = 80, where the teacher is all but linear: the first steps of a multistep solver are of low order
by necessity, and from a smaller sigma their error, not the method's, would be measured. They end at 0.1, within the
data's smallest scale (0.25): what happens in the last step to 0 is not a matter of order.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from bench.api import Grid, Solver
from bench.process import EDM
from bench.rng import SampleNoise, generator
from bench.suites.mixture import mixture

SIGMA_MAX, SIGMA_END, RHO = 80.0, 0.1, 7
PARTICLES = 16
STEPS = (128, 256, 512)
GRIDS = ("karras", "uneven")


@cache
def _slopes() -> Tensor:
    return 1 + 3 * torch.rand(8, generator=generator("convergence", "uneven"), dtype=torch.float64)


def _warp(u: Tensor) -> Tensor:
    """A monotone piecewise-linear map of [0, 1] onto itself, with a kink at every eighth."""
    knots = torch.cat([torch.zeros(1, dtype=torch.float64), _slopes().cumsum(0)]) / _slopes().sum()
    piece = (u * 8).floor().clamp(max=7).long()
    return knots[piece] + (u * 8 - piece) * (knots[piece + 1] - knots[piece])


def make(kind: str, intervals: int) -> Grid:
    """One of ``GRIDS`` with this many intervals."""
    u = torch.linspace(0, 1, intervals + 1, dtype=torch.float64)
    u = u if kind == "karras" else _warp(u)
    high, low = SIGMA_MAX ** (1 / RHO), SIGMA_END ** (1 / RHO)
    return Grid((high + u * (low - high)) ** RHO, EDM())


def _initial() -> Tensor:
    """(PARTICLES, 2) float64 states at SIGMA_MAX."""
    noise = torch.empty(PARTICLES, 2).normal_(generator=generator("convergence", "initial"))
    return SIGMA_MAX * noise.double()


@cache
def _reference() -> Tensor:
    """(PARTICLES, 2) float64: the solution at SIGMA_END, integrated in log sigma where ``dx = (x - D) d log sigma``."""
    gmm = mixture("mixture-2d")

    def slope(log_sigma: float, flat: object) -> object:
        x = torch.as_tensor(flat).view(PARTICLES, 2)
        return (x - gmm.denoise(x, math.exp(log_sigma))).flatten().numpy()

    span = (math.log(SIGMA_MAX), math.log(SIGMA_END))
    out = solve_ivp(slope, span, _initial().flatten().numpy(), method="DOP853", rtol=1e-13, atol=1e-13)
    return torch.as_tensor(out.y[:, -1]).view(PARTICLES, 2)


def errors(solver: Solver, kind: str, steps: tuple[int, ...] = STEPS) -> list[float]:
    """Root mean square error at SIGMA_END, in units of the data, for each number of steps."""
    gmm = mixture("mixture-2d")
    noise = SampleNoise(("convergence", 0, "method"), range(PARTICLES), (2,), torch.float64)
    found = []
    for count in steps:
        x = solver.integrate(gmm.denoise, _initial(), make(kind, count), noise)
        found.append(float((x - _reference()).square().mean().sqrt()))
    return found


def measured_order(solver: Solver, kind: str, steps: tuple[int, ...] = STEPS) -> float:
    """Slope of ``-log error`` against ``log steps``, by least squares."""
    x = torch.tensor(steps, dtype=torch.float64).log()
    y = -torch.tensor(errors(solver, kind, steps), dtype=torch.float64).log()
    return float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())
