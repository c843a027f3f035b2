r"""Frechet distance between Gaussians fitted to features, with its interval and a bias-corrected value.

With means ``m``, ``m_r`` and covariances ``S`` (divided by n - 1), ``R`` of the samples and the reference::

    FD = |m - m_r|^2 + tr S + tr R - 2 tr A^{1/2},    A = R^{1/2} S R^{1/2}

(Dowson and Landau 1982; Heusel et al. 2017, arXiv 1706.08500, Eq. 6). In the eigenbasis of A, with eigenvalues a_i and
``y = V^T R^{1/2} (x - m)``, the interval follows from y alone:

* ``tr A^{1/2}`` is the nuclear norm of ``G^T F`` for any roots ``S = G G^T``, ``R = F F^T``: roots of the exact rank
  leave null directions out, so that nothing takes the root of a rounding error;
* influence of x: ``2 (m - m_r).(x - m) + |x - m|^2 - sum_i y_i^2 / sqrt(a_i)``, centred, as the derivative of FD in S
  is I - T with the optimal transport map ``T = R^{1/2} A^{-1/2} R^{1/2}``;
* bias, to order 1/n: ``[tr S + sum_ij Var(y_i y_j) / (2 s_i s_j (s_i + s_j))] / n`` with ``s_i = sqrt(a_i)``, from the
  second derivative of ``tr A^{1/2}``.

Every sum over samples is one of pieces, read from where the rows are kept: memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bench.metrics._features import NetworkMetric, Rows, at_least, same_width
from bench.metrics._intervals import around, standard_error
from bench.metrics.base import Estimate
from bench.reference.statistics import Reference

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)


class Moments(Rows):
    """Features; their mean and the root of their covariance are computed once, when they serve as the reference."""

    @cached_property
    def mean(self) -> Array:
        """(d,)"""
        total = sum(rows.sum(0) for _, rows in self.chunks())
        return np.asarray(total / len(self))

    @cached_property
    def covariance(self) -> Array:
        """(d, d), divided by n - 1."""
        total = np.zeros((self.width, self.width))
        for _, rows in self.chunks():
            rows -= self.mean
            total += rows.T @ rows
        return total / (len(self) - 1)

    @cached_property
    def trace(self) -> float:
        """The trace of the covariance."""
        return float((self.root**2).sum())

    @cached_property
    def root(self) -> Array:
        """F (d, r) with ``F F^T`` the covariance, r its rank."""
        if len(self) > self.width:
            return root_of(self.covariance, cholesky=True)
        centred = self.double - self.mean
        values, vectors = np.linalg.eigh(centred @ centred.T)  # smaller than the covariance, of the same rank
        kept = values > self.width * EPS * values[-1]
        return np.asarray(centred.T @ vectors[:, kept] / np.sqrt(len(self) - 1))


def root_of(covariance: Array, cholesky: bool) -> Array:
    """F (d, r) with ``F F^T = covariance`` (d, d).

    Args:
        cholesky: whether the matrix may be of full rank, so that the cheap way is worth trying.
    """
    if cholesky:
        with suppress(np.linalg.LinAlgError):
            factor = np.linalg.cholesky(covariance)
            pivots = np.diagonal(factor)
            if pivots.min() > 1e-5 * pivots.max():
                return np.asarray(factor)
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * EPS * values[-1]
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))


class Known(Moments):
    """Mean and covariance from a file, without the rows behind them; it can be compared with, not be judged.

    Args:
        reference: the file.
    """

    def __init__(self, reference: Reference) -> None:
        super().__init__(np.zeros((0, len(reference.mean))), reference.count)
        self.mean = np.asarray(reference.mean, np.float64)
        self.covariance = np.asarray(reference.covariance, np.float64)
        self._cholesky = reference.count > len(reference.mean)

    @cached_property
    def root(self) -> Array:
        return root_of(self.covariance, self._cholesky)


def distance(samples: Moments, reference: Moments) -> float:
    """The plain FD; 0 for identical sets up to 1e-7 of the trace of their covariance."""
    shift = samples.mean - reference.mean
    product = samples.root.T @ reference.root
    gram = product @ product.T if product.shape[0] < product.shape[1] else product.T @ product
    squares = np.linalg.eigvalsh(gram)
    overlap = float(np.sqrt(squares[squares > 4 * EPS * squares.max(initial=0.0)]).sum())
    return max(0.0, float(shift @ shift) + samples.trace + reference.trace - 2 * overlap)


class Coordinates:
    """``y = V^T R^{1/2} (x - m)`` and ``s = sqrt(a)``, see the top of this file; null directions left out."""

    def __init__(self, samples: Moments, reference: Moments) -> None:
        product = samples.root.T @ reference.root
        _, basis = np.linalg.eigh(product.T @ product)
        self._samples = samples
        self._basis = reference.root @ basis
        total = sum((y**2).sum(0) for _, _, y in self._pieces())
        s = np.sqrt(np.asarray(total) / (len(samples) - 1))
        positive = s > len(s) * EPS * s.max(initial=0.0)
        self._basis = self._basis[:, positive]
        self.s = s[positive]

    def _pieces(self) -> Iterator[tuple[slice, Array, Array]]:
        for place, rows in self._samples.chunks():
            rows -= self._samples.mean
            yield place, rows, rows @ self._basis

    def fourth(self) -> Array:
        """(r, r) sums over samples of ``y_i^2 y_j^2``."""
        total = np.zeros((len(self.s), len(self.s)))
        for _, _, y in self._pieces():
            y **= 2
            total += y.T @ y
        return total

    def influence(self, shift: Array) -> Array:
        """(n,), centred; ``shift`` is the difference of the means."""
        found = np.empty(len(self._samples))
        for place, centred, y in self._pieces():
            found[place] = 2 * centred @ shift + (centred**2).sum(1) - y**2 @ (1 / self.s)
        return np.asarray(found - found.mean())


def bias(fourth: Array, s: Array, trace: float, n: int) -> float:
    """What E[FD] of n samples exceeds the FD of their distribution by, to order 1/n.

    Args:
        fourth: (r, r) sums over samples of ``y_i^2 y_j^2``, in directions with positive s.
        s: (r,) their standard deviations.
        trace: of the samples' covariance.
        n: samples.
    """
    variance = fourth / n
    variance[np.diag_indices_from(variance)] -= s**4
    weight = 2 * np.outer(s, s) * (s[:, None] + s[None, :])
    return float(trace + (variance / weight).sum()) / n


class Frechet(NetworkMetric[Moments]):
    """The plain distance at this sample size, as other toolchains report it.

    ``low`` and ``high`` are for the expectation of the plain value at this sample size. ``detail`` has a bias-corrected
    estimate of the distance of the distribution itself with its interval (``debiased``, ``debiased_low``,
    ``debiased_high``), if there are ten samples or more per direction: there a twentieth of the bias remains, with
    fewer samples the expansion in 1/n is not to be trusted. Where samples and reference hardly differ the linear term
    vanishes, and the intervals are up to 1.5 times as wide as they need be.
    """

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    rows: ClassVar[type[Rows]] = Moments

    def reference(self, reference: Reference) -> Moments:
        self.check(reference)
        return Known(reference)

    def value(self, statistics: Moments, reference: Moments | None) -> Estimate:
        other = same_width(statistics, reference)
        assert isinstance(other, Moments)
        at_least(2, statistics, other)
        value = distance(statistics, other)
        n = len(statistics)
        found = Coordinates(statistics, other)
        influence = found.influence(statistics.mean - other.mean)
        error = standard_error(influence)
        low, high = around(value, error, low=0.0)
        detail = {}
        if n >= 10 * len(found.s):
            debiased = value - bias(found.fourth(), found.s, statistics.trace, n)
            detail["debiased"] = debiased
            detail["debiased_low"], detail["debiased_high"] = around(debiased, error)
        return Estimate(value, low, high, "delta method, at this sample size", detail, influence)
