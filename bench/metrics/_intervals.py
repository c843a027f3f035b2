"""95 % intervals. The reference data are taken as fixed; what varies is the draw of the samples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


def standard_error(influence: NDArray[np.float64]) -> float:
    """``std(influence) / sqrt(n)`` for influence (n,); infinite from a single sample."""
    n = len(influence)
    return float(influence.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf


def around(value: float, error: float, low: float = -math.inf, high: float = math.inf) -> tuple[float, float]:
    """``value -+ 1.96 error``, cut at the limits of what the quantity can be."""
    return max(low, value - Z * error), min(high, value + Z * error)


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The score interval of a proportion (Wilson 1927); never empty at 0 or 1."""
    p = successes / n
    centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    # at 0 and 1 the interval ends there exactly; rounding must not leave the estimate outside of it
    return 0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half
