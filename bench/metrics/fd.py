r"""Frechet distance between Gaussians fitted to features, with its interval and a bias-corrected value beside it.

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
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bench.batch import Batch
from bench.info import Info, Paper
from bench.metrics._features import Rows, at_least, same_width
from bench.metrics._intervals import around, standard_error
from bench.metrics.base import Estimate, Metric

INFO = Info(
    summary="Frechet distance between Gaussians fitted to the features of samples and reference.",
    papers=(
        Paper(
            title="GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
            authors="Martin Heusel and Hubert Ramsauer and Thomas Unterthiner and Bernhard Nessler and Sepp Hochreiter",
            year=2017,
            arxiv="1706.08500",
            equation="Eq. 6",
        ),
    ),
    requires=("features",),
)

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)


class Moments(Rows):
    """Features; their mean and the root of their covariance are computed once, when they serve as the reference."""

    @cached_property
    def mean(self) -> Array:
        """(d,)"""
        return np.asarray(self.double.mean(0))

    @property
    def centred(self) -> Array:
        """(n, d)"""
        return np.asarray(self.double - self.mean)

    @cached_property
    def trace(self) -> float:
        """The trace of the covariance."""
        return float((self.root**2).sum())

    @cached_property
    def root(self) -> Array:
        """F (d, r) with ``F F^T`` the covariance, r its rank."""
        centred = self.centred
        covariance = centred.T @ centred / (len(self) - 1)
        if len(self) > covariance.shape[0]:
            with suppress(np.linalg.LinAlgError):
                factor = np.linalg.cholesky(covariance)
                pivots = np.diagonal(factor)
                if pivots.min() > 1e-5 * pivots.max():
                    return np.asarray(factor)
        values, vectors = np.linalg.eigh(covariance)
        kept = values > len(values) * EPS * values[-1]
        return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))


def distance(samples: Moments, reference: Moments) -> float:
    """The plain FD; 0 for identical sets up to 1e-7 of the trace of their covariance."""
    shift = samples.mean - reference.mean
    product = samples.root.T @ reference.root
    gram = product @ product.T if product.shape[0] < product.shape[1] else product.T @ product
    squares = np.linalg.eigvalsh(gram)
    overlap = float(np.sqrt(squares[squares > 4 * EPS * squares.max(initial=0.0)]).sum())
    return max(0.0, float(shift @ shift) + samples.trace + reference.trace - 2 * overlap)


def coordinates(samples: Moments, reference: Moments) -> tuple[Array, Array, Array]:
    """``x - m`` (n, d), ``y`` (n, r) and ``s = sqrt(a)`` (r,), see the top of this file; null directions left out."""
    product = samples.root.T @ reference.root
    _, basis = np.linalg.eigh(product.T @ product)
    centred = samples.centred
    y = centred @ (reference.root @ basis)
    s = np.sqrt((y**2).sum(0) / (len(y) - 1))
    positive = s > len(s) * EPS * s.max(initial=0.0)
    return centred, y[:, positive], s[positive]


def bias(y: Array, s: Array, trace: float) -> float:
    """What E[FD] of n samples exceeds the FD of their distribution by, to order 1/n.

    Args:
        y: (n, r) coordinates of directions with positive s.
        s: (r,) their standard deviations.
        trace: of the samples' covariance.
    """
    n = len(y)
    square = y**2
    variance = square.T @ square / n
    variance[np.diag_indices_from(variance)] -= s**4
    weight = 2 * np.outer(s, s) * (s[:, None] + s[None, :])
    return float(trace + (variance / weight).sum()) / n


class FD(Metric[Moments]):
    """The plain distance at this sample size, as other toolchains report it.

    ``low`` and ``high`` are for the expectation of the plain value at this sample size. ``detail`` has a bias-corrected
    estimate of the distance of the distribution itself with its interval (``debiased``, ``debiased_low``,
    ``debiased_high``), if there are ten samples or more per direction: there a twentieth of the bias remains, with
    fewer samples the expansion in 1/n is not to be trusted. Where samples and reference hardly differ the linear term
    vanishes, and the intervals are up to 1.5 times as wide as they need be.
    """

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    label: ClassVar[str] = "FD ({features})"
    space: ClassVar[Literal["features", "solution", "samples"]] = "features"

    def statistics(self, batch: Batch) -> Moments:
        return Moments.of(batch.features, "features")

    def value(self, statistics: Moments, reference: Moments | None) -> Estimate:
        other = same_width(statistics, reference)
        assert isinstance(other, Moments)
        at_least(2, statistics, other)
        value = distance(statistics, other)
        centred, y, s = coordinates(statistics, other)
        influence = 2 * centred @ (statistics.mean - other.mean) + (centred**2).sum(1) - y**2 @ (1 / s)
        influence -= influence.mean()
        error = standard_error(influence)
        low, high = around(value, error, low=0.0)
        detail = {}
        if len(statistics) >= 10 * len(s):
            debiased = value - bias(y, s, statistics.trace)
            detail["debiased"] = debiased
            detail["debiased_low"], detail["debiased_high"] = around(debiased, error)
        return Estimate(value, low, high, "delta method, at this sample size", detail, influence)
