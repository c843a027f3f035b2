"""Frechet distance in a suite's own features, or in those of a network named by a parameter.

It is called FD, never FID, unless network, resize and number of samples are those of FID: see ``fid``.
"""

from __future__ import annotations

from typing import ClassVar

from bench.info import Info, Paper
from bench.metrics._features import FeatureMetric
from bench.metrics._frechet import Frechet, Moments
from bench.metrics.base import Space

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


class FD(Frechet, FeatureMetric[Moments]):
    """The plain distance at this sample size; see ``Frechet`` for the interval and the bias-corrected value."""

    label: ClassVar[str] = "FD ({features})"
    space: ClassVar[Space] = "features"
