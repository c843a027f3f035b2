"""Means of a kernel over pairs of rows, in pieces of both sets, in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bench.metrics._features import Rows

Array = NDArray[np.float64]
Kernel = Callable[[Array, Array], Array]  # (x (a, d), y (b, d)) -> (a, b)
CHUNK = 1024


def cubic(x: Array, y: Array) -> Array:
    """``(x.y / d + 1)^3``"""
    part = x @ y.T / x.shape[1] + 1
    return np.asarray(part * part * part)


def gaussian(x: Array, y: Array, sigma: float) -> Array:
    """``exp(-|x - y|^2 / (2 sigma^2))``"""
    square = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
    return np.asarray(np.exp(-np.maximum(square, 0.0) / (2 * sigma**2)))


def row_means(kernel: Kernel, x: Rows, y: Rows) -> Array:
    """(n,): mean over rows of y (m, d) of ``k(x_i, y_j)``."""
    total = np.zeros(len(x))
    for _, other in y.chunks():
        for place, rows in x.chunks():
            for start in range(0, len(rows), CHUNK):
                part = rows[start : start + CHUNK]
                first = place.start + start
                total[first : first + len(part)] += kernel(part, other).sum(1)
    return total / len(y)


def diagonal(kernel: Kernel, x: Rows) -> Array:
    """(n,): ``k(x_i, x_i)``."""
    parts = [[kernel(row[None], row[None])[0, 0] for row in rows] for _, rows in x.chunks()]
    return np.array([value for part in parts for value in part])


def row_means_of_others(kernel: Kernel, x: Rows) -> Array:
    """(n,): mean over j != i of ``k(x_i, x_j)``."""
    n = len(x)
    return np.asarray((n * row_means(kernel, x, x) - diagonal(kernel, x)) / (n - 1))


def gaussian_of(sigma: float) -> Kernel:
    """The Gaussian kernel of this width."""
    return partial(gaussian, sigma=sigma)
