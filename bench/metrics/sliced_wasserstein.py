r"""Sliced Wasserstein distance: the root mean square of exact one-dimensional distances along fixed directions.

``SW = (mean_u W_2^2(<u, x>, <u, y>))^{1/2}`` over random unit vectors u (Rabin et al. 2011; Bonneel et al. 2015). In
one dimension ``W_2^2`` is the integral over levels of the squared difference of the quantile functions, both piecewise
constant here, so it is a finite sum for sets of any two sizes.

The influence of x on ``W_2^2`` is the Kantorovich potential ``phi`` with ``phi'(x) = 2 (x - T(x))``, T the monotone map
to the reference (del Barrio and Loubes 2019, arXiv 1705.01299), summed up exactly between neighbouring samples.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from bench.batch import Batch
from bench.info import Info, Paper
from bench.metrics._features import Rows, at_least, same_width
from bench.metrics._intervals import around, standard_error
from bench.metrics.base import Estimate, Metric
from bench.rng import generator

INFO = Info(
    summary="Root mean square of one-dimensional Wasserstein-2 distances of samples along fixed random directions.",
    papers=(
        Paper(
            title="Central Limit Theorems for Empirical Transportation Cost in General Dimension",
            authors="Eustasio del Barrio and Jean-Michel Loubes",
            year=2019,
            arxiv="1705.01299",
            equation="Theorem 4.1",
        ),
    ),
)

Array = NDArray[np.float64]


def directions(width: int, count: int) -> Array:
    """(width, count): unit vectors, the same ones always."""
    drawn = torch.empty(count, width).normal_(generator=generator("sliced_wasserstein", width)).double().numpy()
    return np.asarray((drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).T)


def squared_distance(x: Array, y: Array) -> Array:
    """(p,): exact ``W_2^2`` between columns of x (n, p) and y (m, p), each sorted."""
    n, m = len(x), len(y)
    # levels at which one of the two quantile functions jumps, in units of 1 / (n m), where they are integers
    levels = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    left, mass = levels[:-1], np.diff(levels) / (n * m)
    return np.asarray(mass @ (x[left // m] - y[left // n]) ** 2)


def potential(x: Array, y: Array) -> Array:
    """(n, p): the Kantorovich potentials at sorted columns of x (n, p) for sorted columns of y (m, p), mean 0."""
    n, m = len(x), len(y)
    # between samples i and i + 1 the map is the quantile of y at level (i + 1) / n
    target = y[np.minimum((np.arange(1, n) * m) // n, m - 1)]
    step = np.diff(x**2, axis=0) - 2 * target * np.diff(x, axis=0)
    phi = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(step, axis=0)])
    return np.asarray(phi - phi.mean(0))


class SlicedWasserstein(Metric[Rows]):
    """Over the raw samples, no features involved.

    Attributes:
        projections: the number of directions; more than there are dimensions, or the distance is blind to some.

    The interval is the delta method's on the square, its root taken; it holds the root of the expected square at this
    sample size, and is too wide rather than too narrow where samples and reference hardly differ.
    """

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    label: ClassVar[str] = "Sliced Wasserstein-2"
    space: ClassVar[Literal["features", "solution", "samples"]] = "samples"

    projections: int = Field(default=128, ge=1, le=100_000)

    def statistics(self, batch: Batch) -> Rows:
        return Rows.of(batch.samples, "samples")

    def value(self, statistics: Rows, reference: Rows | None) -> Estimate:
        other = same_width(statistics, reference)
        at_least(1, statistics, other)
        lines = directions(statistics.rows.shape[1], self.projections)
        projected = statistics.double @ lines
        order = projected.argsort(0)
        x, y = np.take_along_axis(projected, order, 0), np.sort(other.double @ lines, 0)
        square = float(squared_distance(x, y).mean())
        value = math.sqrt(square)
        influence = np.empty_like(x)
        np.put_along_axis(influence, order, potential(x, y), 0)
        of_square = influence.mean(1)
        low, high = (math.sqrt(limit) for limit in around(square, standard_error(of_square), low=0.0))
        slope = 1 / (2 * value) if value > 0 else 0.0
        return Estimate(value, low, high, "delta method on the square", influence=slope * of_square)
