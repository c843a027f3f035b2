"""What a metric is: pure functions from batches to additive statistics to a value with its interval."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bench.batch import Batch
from bench.errors import UsageError
from bench.reference.statistics import Reference

Space = Literal["features", "images", "clips", "solution", "samples"]


class Statistics(ABC):
    """Float64, additive: ``statistics(a) + statistics(b) == statistics(a and b)``; never depends on batch size."""

    @abstractmethod
    def __add__(self, other: Self) -> Self: ...


S = TypeVar("S", bound=Statistics)


@dataclass(frozen=True)
class Estimate:
    """A number that is allowed to stand in a table.

    Attributes:
        value: the estimate.
        low, high: 95 % interval; None where none can be had.
        interval: how the interval was obtained, in a few words.
        detail: further figures with names, such as ``{"debiased": 7.1}``.
        influence: (n,) each sample's first-order contribution (mean 0), for paired comparisons; None if not available.
    """

    value: float
    low: float | None = None
    high: float | None = None
    interval: str = ""
    detail: dict[str, float] = field(default_factory=dict)
    influence: NDArray[np.float64] | None = None


class Metric(BaseModel, Generic[S]):
    """A metric; its fields are its parameters, and all of them are part of its id.

    Class attributes:
        better: which way is better.
        label: the name on axes and in tables, such as ``"FD (digits-cnn)"``; ``{features}`` is filled by the suite.
        space: what the definition depends on, which then stands in the metric's id: ``"features"`` (the suite's
            feature network), ``"images"`` or ``"clips"`` (a network of the metric's own on what samples look like),
            ``"solution"`` (the teacher and the reference solver) or ``"samples"`` (nothing but data).
        needs_reference: whether it compares with reference data.
        needs_solution_images: whether it compares with the teacher's own pictures from the same noise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    better: ClassVar[Literal["lower", "higher"]]
    label: ClassVar[str]
    space: ClassVar[Space]
    needs_reference: ClassVar[bool] = True
    needs_solution_images: ClassVar[bool] = False

    @property
    def needs_solution(self) -> bool:
        """Whether it compares with the teacher's reference solution from the same noise."""
        return self.space == "solution" or self.needs_solution_images

    def network_id(self) -> str:
        """Name, weights and preprocessing of the metric's own network; empty if it has none."""
        return ""

    def weights(self) -> tuple[str, ...]:
        """Names in the manifest of weights that it needs, see ``bench.weightstore``."""
        return ()

    def problem(self) -> str:
        """Why it cannot run on this machine, weights apart, and what to do; empty if it can."""
        return ""

    def reference(self, reference: Reference) -> S:
        """Statistics of reference data that are only known by their file.

        Raises:
            UsageError: they were made by another extractor, or lack what this metric needs.
        """
        raise UsageError(f"{type(self).__name__} cannot be computed from a file of reference statistics")

    @abstractmethod
    def statistics(self, batch: Batch) -> S:
        """Statistics of one batch.

        Raises:
            Lacking: the batch lacks what this metric needs (features, labels, ...).
        """

    @abstractmethod
    def value(self, statistics: S, reference: S | None) -> Estimate:
        """The metric of the samples behind ``statistics`` against the reference data behind ``reference``."""
