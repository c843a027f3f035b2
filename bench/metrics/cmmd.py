r"""CMMD: the squared maximum mean discrepancy of CLIP embeddings with a Gaussian kernel, times 1,000.

Jayasumana et al. 2024 (arXiv 2401.09603, Sec. 4): embeddings of CLIP ViT-L/14 at 336 pixels, of length 1, sigma = 10,
the biased estimate that counts a point as its own neighbour::

    CMMD = 1000 [ mean_ij k(x_i, x_j) + mean_ij k(y_i, y_j) - 2 mean_ij k(x_i, y_j) ]

The authors' code works in float32, in which the three means differ by parts in 10^7 and the result is good for three
digits; here everything is float64. ``detail`` has the unbiased estimate.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from bench.features.base import Extractor
from bench.features.clip import OpenClip
from bench.info import Info, Paper
from bench.metrics._features import NetworkMetric, Rows, at_least, same_width
from bench.metrics._intervals import around, standard_error
from bench.metrics._kernels import gaussian_of, row_means, row_means_of_others
from bench.metrics.base import Estimate, Space

INFO = Info(
    summary="Maximum mean discrepancy of CLIP ViT-L/14 (336) image embeddings with a Gaussian kernel, times 1000.",
    papers=(
        Paper(
            title="Rethinking FID: Towards a Better Evaluation Metric for Image Generation",
            authors="Sadeep Jayasumana and Srikumar Ramalingam and Andreas Veit and Daniel Glasner "
            "and Ayan Chakrabarti and Sanjiv Kumar",
            year=2024,
            arxiv="2401.09603",
            equation="Sec. 4",
            code="google-research/google-research/tree/master/cmmd",
        ),
    ),
    requires=("images",),
)


class CMMD(NetworkMetric[Rows]):
    """The biased estimate, as published; intervals hold its expectation for this reference at this sample size.

    Attributes:
        sigma: width of the kernel; embeddings are at most 2 apart.
        scale: what the discrepancy is multiplied by.
    """

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    label: ClassVar[str] = "CMMD ({features})"
    space: ClassVar[Space] = "images"
    rows: ClassVar[type[Rows]] = Rows

    sigma: float = Field(default=10.0, gt=0)
    scale: float = Field(default=1000.0, gt=0)

    def extractor(self) -> Extractor:
        return OpenClip(model="ViT-L-14-336", checkpoint="openai", resize="cmmd")

    def value(self, statistics: Rows, reference: Rows | None) -> Estimate:
        other = same_width(statistics, reference)
        at_least(2, statistics, other)
        kernel = gaussian_of(self.sigma)
        n, m = len(statistics), len(other)
        others, own = row_means_of_others(kernel, statistics), row_means_of_others(kernel, other).mean()
        across = row_means(kernel, statistics, other)
        unbiased = float(others.mean() + own - 2 * across.mean())
        # a point is its own neighbour at distance 0, where the kernel is 1
        biased = float(((n - 1) * others.mean() + 1) / n + ((m - 1) * own + 1) / m - 2 * across.mean())
        influence = 2 * self.scale * (others - across)
        influence -= influence.mean()
        value = self.scale * biased
        low, high = around(value, standard_error(influence), low=0.0)
        return Estimate(
            value, low, high, "Hoeffding projection", {"unbiased": self.scale * unbiased}, influence=influence
        )
