r"""DeepCache: between full evaluations only the shallow branch of the U-Net runs, on the deep feature of the last one.

With the up-path ``U_m`` and the down-path ``D_m`` of a U-Net, m counted from the outermost branch, and the feature
``F_cache`` that entered ``U_1`` at the last full step::

    full      F_cache <- U_2(.), then the whole network
    partial   Concat(D_1(x_t), F_cache) -> U_1 -> prediction                              (Eq. 9)

Full steps are every ``interval``-th one, or, with ``power`` > 1, those nearest to a power law around the step
``center``: dense there, sparse far from it (Sec. 3.3, "non-uniform 1:N inference")::

    i_k = center + sgn(u_k) |u_k|^power,   u_k even between -center^{1/power} and (n - center)^{1/power}

Ma, Fang and Wang 2023, "DeepCache: Accelerating Diffusion Models for Free", arXiv 2312.00858.

Every evaluation counts as one, whole or not; what is saved shows in FLOPs and in latency. Departures: the branch is
the outermost one (the authors' ``branch = 0``); for ``center > 0`` their code raises a negative number to a fractional
power, where the law here is odd about its centre.
"""

from __future__ import annotations

import math

from pydantic import Field

from bench.api import Info, Paper
from bench.caching import Caching
from bench.reuse import Part

INFO = Info(
    summary="Deep features of the U-Net are kept for a few steps, in which only its outer branch runs.",
    family="caching",
    papers=(
        Paper(
            title="DeepCache: Accelerating Diffusion Models for Free",
            authors="Xinyin Ma and Gongfan Fang and Xinchao Wang",
            year=2023,
            arxiv="2312.00858",
            equation="Eq. 9",
            code="horseee/DeepCache",
        ),
    ),
    requires=("network",),
)


class DeepCache(Caching):
    """DeepCache around any solver.

    Attributes:
        solver: spec of the solver.
        interval: one evaluation in so many is full.
        center: the step around which full ones are dense, if ``power`` > 1.
        power: of the law; 1 is even spacing.
    """

    interval: int = Field(default=2, ge=1)
    center: int = Field(default=0, ge=0)
    power: float = Field(default=1.0, ge=1.0, le=10.0)

    def full_steps(self, nfe: int) -> set[int]:
        """Which evaluations, from 0, are full; always the first."""
        count = -(-nfe // self.interval)
        if self.power == 1:
            return set(range(0, nfe, self.interval))
        center = min(self.center, nfe - 1)
        low, high = -(center ** (1 / self.power)), (nfe - center) ** (1 / self.power)
        law = (low + k / count * (high - low) for k in range(1, count))
        return {0} | {center + math.floor(math.copysign(abs(u) ** self.power, u)) for u in law}

    def parts(self, nfe: int) -> list[Part]:
        full = self.full_steps(nfe)
        return ["full" if step in full else "deep" for step in range(nfe)]
