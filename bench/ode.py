r"""A reference solution of the probability-flow ODE ``dx/dsigma = (x - D(x, sigma)) / sigma``, for smooth closed forms.

Extrapolated modified midpoint (Gragg 1965; Bulirsch and Stoer 1966; Hairer, Norsett and Wanner, Solving Ordinary
Differential Equations I, Sec. II.9) in ``u = asinh(sigma / scale)``: logarithmic in sigma above ``scale``, linear below
it, regular at 0. The modified midpoint rule never evaluates the right end of a step, so sigma = 0 is reached and not
divided by.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from bench.denoiser import Denoiser

Slope = Callable[[Tensor, float], Tensor]


def _midpoint(slope: Slope, x: Tensor, u: float, width: float, substeps: int) -> Tensor:
    """``substeps`` (even) leapfrog steps of the modified midpoint rule; its error is a series in even powers."""
    h = width / substeps
    before, now = x, x + h * slope(x, u)
    for i in range(1, substeps):
        before, now = now, before + 2 * h * slope(now, u + i * h)
    return now


def _extrapolate(slope: Slope, x: Tensor, u: float, width: float, columns: int) -> Tensor:
    """One step of order ``2 columns``: Aitken-Neville in the squared step, substeps 2, 4, 6, ..."""
    row: list[Tensor] = []
    for j in range(1, columns + 1):
        entry = [_midpoint(slope, x, u, width, 2 * j)]
        for k, previous in enumerate(row, start=1):
            ratio = (j / (j - k)) ** 2
            entry.append(entry[-1] + (entry[-1] - previous) / (ratio - 1))
        row = entry
    return row[-1]


def solve(denoise: Denoiser, x: Tensor, sigma_max: float, scale: float, steps: int, columns: int = 6) -> Tensor:
    """Carry x from ``sigma_max`` to 0 in float64.

    Args:
        denoise: smooth in x and sigma, down to sigma = 0; computes in the dtype of its input.
        x: (B, ...) state at ``sigma_max``.
        scale: the smallest length scale of the data; steps are logarithmic in sigma above it.
        steps: equal steps in u; each costs ``columns (columns + 1)`` evaluations.
        columns: half the order.

    Returns:
        (B, ...) float64 state at sigma = 0.
    """

    def slope(state: Tensor, u: float) -> Tensor:
        sigma = scale * math.sinh(u)
        return (state - denoise(state, sigma)) * (scale * math.cosh(u) / sigma)

    start = math.asinh(sigma_max / scale)
    state = x.double()
    for i in range(steps):
        state = _extrapolate(slope, state, start * (1 - i / steps), -start / steps, columns)
    return state
