r"""Parity cases: one of our solvers, another public implementation, and what both make of the same problem.

::

    Case(solver, against, reference) --> ours (8, 2)   = method.sample(problem, nfe)
                                     --> theirs (8, 2) = reference(setup), live or as recorded
                                     --> largest |ours - theirs|

The problem is a two-dimensional Gaussian mixture in closed form, float64, between two noise levels of the case, so
what is compared is the solver alone. A package is called where it is installed. Authors' code is not ours to ship: a
case gives the driver, ``bench parity --checkout owner/name=PATH`` runs it on a checkout, and the numbers it gave are
kept, with their provenance, in ``recorded/``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bench import registry
from bench.api import Denoiser, Grid, Method, Problem, Solver
from bench.nfe import Ledger
from bench.process import EDM, Process
from bench.rng import SampleNoise
from bench.sampling import make_solver
from bench.suites.mixture import mixture

NFES = (1, 2, 3, 5, 8, 10, 20)
STATES = 8
TOLERANCE = 1e-5
EDM_PROCESS = EDM()
PACKAGES = ("diffusers", "k-diffusion", "azula")


class Unavailable(Exception):
    """The reference cannot be run here: a package or a checkout is missing."""


@dataclass(frozen=True)
class Setup:
    """One budget of a case, as the reference sees it.

    Attributes:
        denoise: ``D(x, sigma)`` of the mixture, in the precision of x.
        x: (8, 2) float64, the state at the grid's first level.
        grid: the grid that our solver uses for this budget.
        nfe: the budget.
        noise: the stream of normal numbers that our solver draws; a reference draws from it in the same order.
        checkout: the authors' repository, where the reference needs one.
    """

    denoise: Denoiser
    x: Tensor
    grid: Grid
    nfe: int
    noise: SampleNoise
    checkout: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison.

    Attributes:
        solver: our spec, its grid included.
        against: one of ``PACKAGES``, or the repository ``owner/name``.
        what: the function or class there, with its parameters.
        reference: their result (8, 2) for one budget; raises ``Unavailable``.
        nfes: the budgets at which both are defined.
        sigma_min, sigma_max, process: of the problem.
        tolerance: the largest difference allowed; None where the two are known to disagree.
        verdict: for a disagreement, whose fault it is and how both behaviours are reached; else any remark.
    """

    solver: str
    against: str
    what: str
    reference: Callable[[Setup], Tensor]
    nfes: tuple[int, ...] = NFES
    sigma_min: float = 0.02
    sigma_max: float = 10.0
    process: Process = EDM_PROCESS
    tolerance: float | None = TOLERANCE
    verdict: str = ""

    @property
    def key(self) -> str:
        """Names the case among those of its module."""
        return f"{self.solver} | {self.against} | {self.what}"


def _problem(case: Case, nfe: int) -> tuple[Method, Problem]:
    gmm = mixture("mixture-2d")
    name = ("parity", 0)
    x = case.sigma_max * SampleNoise((*name, "initial"), range(STATES), (2,), torch.float64).normal()
    noise = SampleNoise((*name, "method"), range(STATES), (2,), torch.float64)

    def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
        return gmm.to("cpu", x.dtype).denoise(x, sigma)

    def no_student(weights: object) -> Denoiser:
        raise Unavailable("a closed form has no student")

    problem = Problem(
        denoise=Ledger(budget=nfe).denoiser(denoise),
        x=x,
        noise=noise,
        process=case.process,
        sigma_min=case.sigma_min,
        sigma_max=case.sigma_max,
        artifact={},
        student=no_student,
        solver=make_solver,
    )
    method: Method = registry.create("method", case.solver)
    return method, problem


def ours(case: Case, nfe: int) -> Tensor:
    """(8, 2) float64: our samples; one evaluation more than ``nfe`` is an error."""
    method, problem = _problem(case, nfe)
    with torch.inference_mode():
        return method.sample(problem, nfe)


def theirs(case: Case, nfe: int, checkout: Path | None = None) -> Tensor:
    """(8, 2) float64: the reference's samples, run now.

    Raises:
        Unavailable: what it needs is not here.
    """
    method, problem = _problem(case, nfe)
    assert isinstance(method, Solver)
    grid = problem.grid(method.grid, method.intervals(nfe))
    gmm = mixture("mixture-2d")

    def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
        return gmm.to("cpu", x.dtype).denoise(x, sigma)

    return case.reference(Setup(denoise, problem.x, grid, nfe, problem.noise, checkout)).double()


def modules() -> list[str]:
    """Names of the modules of cases, which are names of our solvers."""
    package = importlib.import_module("bench.parity.cases")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


def cases(module: str) -> tuple[Case, ...]:
    """The cases of one of our solvers."""
    found: tuple[Case, ...] = importlib.import_module(f"bench.parity.cases.{module}").CASES
    return found
