"""What a method sees, and all it sees.

::

    suite --> Problem(denoise, x, noise, grid(), artifact) --> Method.sample --> x0 (B, ...)
    suite --> FitTask(teacher, data, student())            --> Method.fit    --> artifact tensors

A method file has one ``INFO = Info(...)`` made of literals and one subclass of ``Method``; the fields of the class are
its parameters. It never imports another method, a metric, a suite or the runner: it cannot see its judge.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from pydantic import BaseModel, ConfigDict, field_validator
from torch import Tensor, nn

from bench.denoiser import Denoiser
from bench.errors import UsageError
from bench.grids import Grid, check_grid, make_grid
from bench.info import Info, Paper
from bench.process import Process
from bench.reuse import CachedDenoiser
from bench.rng import SampleNoise

__all__ = [
    "Denoiser",
    "FitBatch",
    "FitTask",
    "Grid",
    "Info",
    "Method",
    "Paper",
    "Problem",
    "Solver",
    "Unsupported",
]


class Unsupported(Exception):
    """A method cannot do what it was asked, and says why and what it can; becomes an ``unsupported`` record."""


def _no_method(spec: str) -> Method:
    raise Unsupported("no other method can be asked for here")


def _no_reuse() -> CachedDenoiser:
    raise Unsupported("the teacher of this suite is a closed form, which has no features to reuse")


@dataclass(frozen=True)
class Problem:
    """One batch to generate.

    Attributes:
        denoise: the counted teacher, conditioning and guidance bound.
        x: (B, ...) initial state ``sigma_max * eps``, float32 or float64.
        noise: fresh per-sample noise for stochastic methods.
        process: the teacher's own process.
        sigma_min, sigma_max: the suite's range of noise levels.
        artifact: what ``Method.fit`` returned for this budget; empty if the method needs none.
        student: a counted denoiser that runs the teacher's architecture with other weights.
        solver: another registered solver by its spec, for methods that are schedules.
        method: another registered method by its spec, for methods that combine two.
        cached: the teacher as a denoiser that can reuse features of its last full pass; counted like ``denoise``.
            Raises ``Unsupported`` if its network has no such parts.
    """

    denoise: Denoiser
    x: Tensor
    noise: SampleNoise
    process: Process
    sigma_min: float
    sigma_max: float
    artifact: Mapping[str, Tensor]
    student: Callable[[Mapping[str, Tensor]], Denoiser]
    solver: Callable[[str], Solver]
    method: Callable[[str], Method] = _no_method
    cached: Callable[[], CachedDenoiser] = _no_reuse

    def grid(self, spec: str, intervals: int) -> Grid:
        """The named grid between the suite's noise levels; see ``bench.grids.make_grid``.

        Raises:
            Unsupported: the grid does not have this number of intervals.
        """
        try:
            return make_grid(spec, intervals, self.sigma_min, self.sigma_max, self.process)
        except UsageError as error:  # names and parameters were checked with the method's own
            raise Unsupported(str(error)) from error


class Method(BaseModel):
    """Turns noise into samples within a budget of evaluations. Fields are parameters; unknown ones are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sampling_only: ClassVar[frozenset[str]] = frozenset()
    """Parameters that a fitted artifact does not depend on; any other one must be what the artifact was fitted with."""

    @field_validator("grid", check_fields=False)
    @classmethod
    def _known_grid(cls, spec: str) -> str:
        check_grid(spec)  # so that a typo is found before anything runs
        return spec

    @abstractmethod
    def sample(self, problem: Problem, nfe: int) -> Tensor:
        """Samples x0 (B, ...) from at most ``nfe`` sequential denoiser calls.

        Raises:
            Unsupported: this budget is not possible; the message says which is.
        """

    def artifact_name(self, nfe: int) -> str:
        """The name of the artifact this budget needs, such as ``"nfe4"``; empty if none is needed."""
        return ""

    def borrows(self, nfe: int) -> tuple[str, int] | None:
        """Spec and budget of the method whose artifact this one runs on; None if it has its own, or needs none.

        Raises:
            Unsupported: this budget is not possible.
        """
        return None

    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        """Calibrate or distil for a budget; the tensors become the artifact.

        Raises:
            Unsupported: nothing to fit, or the suite lacks what fitting needs.
        """
        raise Unsupported("this method has nothing to fit")


class Solver(Method):
    """A method that integrates the teacher along a grid; any solver works on any grid.

    Attributes:
        grid: spec of the grid, see ``bench.grids``.
    """

    grid: str = "karras"

    @property
    def declared_order(self) -> int | None:
        """Order of convergence on arbitrary smooth grids, for these parameters; None claims nothing.

        Not called ``order``: that is a parameter of many solvers, and a field cannot shadow a property.
        """
        return None

    def intervals(self, nfe: int) -> int:
        """How many grid intervals use exactly ``nfe`` evaluations.

        Raises:
            Unsupported: no number of intervals does.
        """
        return nfe

    @abstractmethod
    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        """Carry x (B, ...) from ``grid.sigma[0]`` to ``grid.sigma[-1]``.

        The grid may end in 0 or above it, and may have a single interval. No state survives the call.
        """

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        grid = problem.grid(self.grid, self.intervals(nfe))
        return self.integrate(problem.denoise, problem.x, grid, problem.noise)


class FitBatch(Protocol):
    """A batch for fitting, its conditioning bound.

    Attributes:
        x: (B, ...) real data x0 from ``FitTask.data``, or noise ``sigma_max * eps`` from ``FitTask.noise``.
        denoise: the teacher; its evaluations count as ``fit_evals``.
    """

    x: Tensor
    denoise: Denoiser

    def bind(self, network: nn.Module) -> Denoiser:
        """A (student) network as a denoiser for this batch's conditioning; differentiable, counted as ``fit_evals``."""
        ...


class FitTask(Protocol):
    """What fitting may use; everything drawn is counted (``fit_evals``, ``fit_images``, ``fit_seconds``).

    Attributes:
        generator: seeded source for every random choice of the fit.
        process, sigma_min, sigma_max: as in ``Problem``.
    """

    generator: torch.Generator
    process: Process
    sigma_min: float
    sigma_max: float

    def grid(self, spec: str, intervals: int) -> Grid:
        """As ``Problem.grid``."""
        ...

    def data(self, count: int) -> FitBatch:
        """``count`` training samples drawn with replacement."""
        ...

    def noise(self, count: int) -> FitBatch:
        """``count`` initial states ``sigma_max * eps`` with conditioning drawn as the suite does."""
        ...

    def student(self) -> nn.Module:
        """A trainable copy of the teacher's network, weights included.

        Raises:
            Unsupported: the teacher is not a trainable network.
        """
        ...

    def solver(self, spec: str) -> Solver:
        """As ``Problem.solver``."""
        ...

    def artifact(self, nfe: int) -> Mapping[str, Tensor]:
        """This method's artifact for another budget, fitted first if there is none; its cost is added to this fit's."""
        ...

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Tell the user how far the fit is."""
        ...
