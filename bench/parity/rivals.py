"""Other implementations on a suite's own teacher: whose samples come nearest to the reference solution?

Every parity case names a public implementation and how it is called. Here each is called on the teacher and the noise
of a suite, along the grid that the case's own solver would use there, and judged as our methods are: by the root mean
square distance to the teacher's solution from the same noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bench import registry
from bench.api import Method, Solver, Unsupported
from bench.nfe import BudgetExceeded, Ledger
from bench.parity.case import PACKAGES, Case, Setup, Unavailable
from bench.parity.found import cases, modules
from bench.sampling import Teacher


@dataclass(frozen=True)
class Rival:
    """One implementation at one budget.

    Attributes:
        case: how it was called.
        rmse: root mean square distance to the reference solution, per number.
        nfe: evaluations that it made, counted.
    """

    case: Case
    rmse: float
    nfe: int


def _run(case: Case, teacher: Teacher, nfe: int, samples: int, checkout: Path | None) -> tuple[Tensor, int]:
    method: Method = registry.create("method", case.solver)
    ledger = Ledger(budget=2 * nfe)
    problem = teacher.problem(0, range(samples), ledger)
    if not isinstance(method, Solver):
        raise Unavailable("it has no grid of its own")
    grid = problem.grid(method.grid, method.intervals(nfe))
    setup = Setup(problem.denoise, problem.x, grid, nfe, problem.noise, checkout)
    return case.reference(setup), ledger.nfe


def rivals(
    teacher: Teacher, solution: Tensor, nfe: int, checkouts: Mapping[str, Path] | None = None
) -> Iterator[Rival]:
    """All implementations that can be run on this teacher at a budget and use no more than it.

    Args:
        teacher: of the suite.
        solution: (n, ...) the reference solution of samples 0..n-1 of seed 0.
        nfe: the budget.
        checkouts: authors' repositories by ``owner/name``; a repository without one is left out.
    """
    seen = set()
    for case in (case for module in modules() for case in cases(module)):
        checkout = (checkouts or {}).get(case.against)
        if (case.against not in PACKAGES and checkout is None) or (case.against, case.what) in seen:
            continue
        seen.add((case.against, case.what))
        try:
            with torch.no_grad():
                found, made = _run(case, teacher, nfe, len(solution), checkout)
        except (Unavailable, Unsupported, BudgetExceeded):
            continue
        except Exception:  # an implementation that was never made for these shapes or this budget
            continue
        rmse = float((found.to(solution) - solution).square().mean().sqrt())
        if made <= nfe and math.isfinite(rmse):
            yield Rival(case, rmse, made)
