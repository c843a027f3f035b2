"""How far samples are from where the teacher's ODE ends when it is solved accurately from the same noise."""

from __future__ import annotations

from typing import ClassVar, Literal

from bench.batch import Batch, Lacking
from bench.info import Info
from bench.metrics._features import Rows, at_least
from bench.metrics._intervals import around, standard_error
from bench.metrics.base import Estimate, Metric

INFO = Info(
    summary="Root mean square difference to the teacher's ODE solution from the same noise, averaged over samples.",
    requires=("solution",),
)


class RMSE(Metric[Rows]):
    """Mean over samples of the root mean square over a sample's elements, in units of the data.

    Before quantisation. Stochastic samplers do not follow the ODE and cannot do well here.
    """

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    label: ClassVar[str] = "RMSE to the ODE solution"
    space: ClassVar[Literal["features", "solution", "samples"]] = "solution"
    needs_reference: ClassVar[bool] = False

    def statistics(self, batch: Batch) -> Rows:
        if batch.raw is None or batch.solution is None:
            raise Lacking("rmse needs samples before quantisation and the reference solution from the same noise")
        if batch.raw.shape != batch.solution.shape:
            raise ValueError(f"samples are {tuple(batch.raw.shape)}, their solutions {tuple(batch.solution.shape)}")
        difference = batch.raw.detach().cpu().double() - batch.solution.detach().cpu().double()
        return Rows.of(difference.flatten(1).square().mean(1, keepdim=True).sqrt(), "solutions")

    def value(self, statistics: Rows, reference: Rows | None) -> Estimate:
        at_least(1, statistics)
        error = statistics.double[:, 0]
        value = float(error.mean())
        influence = error - value
        low, high = around(value, standard_error(influence), low=0.0)
        return Estimate(value, low, high, "normal, over samples", influence=influence)
