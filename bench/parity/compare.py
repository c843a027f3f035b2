"""What our solver and the reference of a case make of the same problem."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from bench import registry
from bench.api import Denoiser, Method, Problem, Solver
from bench.nfe import Ledger
from bench.parity.case import Case, Setup, Unavailable
from bench.rng import SampleNoise
from bench.sampling import make_solver
from bench.suites.mixture import mixture

STATES = 8


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
        artifact=case.artifact,
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
    if isinstance(method, Solver):
        grid = problem.grid(method.grid, method.intervals(nfe))
    else:  # it has no grid of its own: the two ends
        grid = problem.grid("karras[end=sigma_min]", 1)
    gmm = mixture("mixture-2d")

    def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
        return gmm.to("cpu", x.dtype).denoise(x, sigma)

    return case.reference(Setup(denoise, problem.x, grid, nfe, problem.noise, checkout)).double()


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest absolute difference of two results; infinite where one is not finite and the other is."""
    largest = float((ours - theirs).abs().max())
    return math.inf if math.isnan(largest) else largest
