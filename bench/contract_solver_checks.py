"""What the contract asks of solvers, which integrate along a grid that they are given.

The exact solution is known for Gaussian data, whose denoiser and flow are closed forms; the order is measured on a
mixture; and where a public implementation is registered for the solver (``bench.parity``), the two agree.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from bench.api import Grid, Solver, Unsupported
from bench.contract import ContractViolation, NotApplicable, Subject
from bench.convergence import GRIDS, measured_order
from bench.grids import make_grid
from bench.parity.base import Unavailable, cases, difference, modules, ours
from bench.parity.recorded import reference
from bench.process import EDM
from bench.rng import SampleNoise

DTYPES = (torch.float32, torch.float64)
SLOPE_TOLERANCE = 0.15
MEAN, STD = 0.3, 0.7


def require(condition: bool, sentence: str) -> None:
    """Keep a promise.

    Raises:
        ContractViolation: it is broken, in one sentence.
    """
    if not condition:
        raise ContractViolation(sentence)


def _solver(subject: Subject) -> Solver:
    if not isinstance(subject.method, Solver):
        raise NotApplicable("not a solver")
    return subject.method


def gaussian(x: Tensor, sigma: float | Tensor) -> Tensor:
    """``D(x, sigma)`` for data N(MEAN, STD^2) in every dimension."""
    level = torch.as_tensor(sigma, dtype=x.dtype)
    gain = STD**2 / (STD**2 + level**2)
    return MEAN + gain.view(-1, *[1] * (x.ndim - 1)) * (x - MEAN)


def _start(grid: Grid, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, SampleNoise]:
    """States (B, ...) at the grid's first level, distributed as noisy data, and the noise that a method may draw."""
    noise = SampleNoise(("contract", 0, "method"), range(shape[0]), shape[1:], dtype)
    start = SampleNoise(("contract", 0, "initial"), range(shape[0]), shape[1:], dtype)
    return MEAN + math.hypot(grid.nodes[0], STD) * start.normal(), noise


def _integrate(solver: Solver, grid: Grid, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A solver's result (B, ...) for Gaussian data and the exact one."""
    x, noise = _start(grid, shape, dtype)
    with torch.inference_mode():
        result = solver.integrate(gaussian, x.clone(), grid, noise)
    high, low = grid.nodes[0], grid.nodes[-1]
    return result, MEAN + math.hypot(low, STD) / math.hypot(high, STD) * (x - MEAN)


def check_grids(subject: Subject) -> None:
    """One interval, grids that end above 0, and states of any shape: finite, or Unsupported with a reason."""
    solver = _solver(subject)
    nodes = (
        [80.0, 0.0],
        [80.0, 0.002],
        [1.0, 0.5],
        [80.0, 5.0, 1.0, 0.3],
        [80.0, 5.0, 1.0, 0.0],
        [40.0, 39.99, 1e-3, 0.0],
    )
    for levels in nodes:
        for shape in ((2, 3), (2, 3, 4, 4)):
            for dtype in DTYPES:
                grid = Grid(torch.tensor(levels, dtype=torch.float64), EDM())
                try:
                    result, exact = _integrate(solver, grid, shape, dtype)
                except Unsupported as error:
                    require(bool(str(error).strip()), f"Unsupported without a reason on the grid {levels}")
                    continue
                where = f"on the grid {levels} with a state {shape} in {dtype}"
                require(result.shape == exact.shape and result.dtype == dtype, f"wrong shape or dtype {where}")
                require(bool(torch.isfinite(result).all()), f"not finite {where}")


def check_one_step(subject: Subject) -> None:
    """One step to 0 from one evaluation, at the first level, is the teacher's prediction."""
    solver = _solver(subject)
    grid = Grid(torch.tensor([80.0, 0.0], dtype=torch.float64), EDM())
    x, noise = _start(grid, (4, 3), torch.float64)
    levels: list[float] = []

    def noted(x: Tensor, sigma: float | Tensor) -> Tensor:
        levels.extend(torch.as_tensor(sigma).flatten().tolist())
        return gaussian(x, sigma)

    try:
        with torch.inference_mode():
            result = solver.integrate(noted, x.clone(), grid, noise)
    except Unsupported as error:
        raise NotApplicable(f"one interval is not supported: {error}") from error
    if levels != [80.0]:
        raise NotApplicable(f"evaluates at {levels or 'no level'} in one step from 80 to 0")
    gap = float((result - gaussian(x, 80.0)).abs().max())
    require(gap <= 1e-9, f"one step from 80 to 0 differs from the prediction D(x, 80) by {gap:.2g}")


def check_stops(subject: Subject) -> None:
    """A grid that ends above 0 leaves samples as noisy as its last level, not denoised further.

    The upper bound is wide: Langevin steps of a finite size leave more noise than they should.
    """
    solver = _solver(subject)
    for end in (1.0, 0.3):
        nodes = 80.0 * (end / 80.0) ** torch.linspace(0, 1, 65, dtype=torch.float64)
        try:
            result, _ = _integrate(solver, Grid(nodes, EDM()), (512, 8), torch.float64)
        except Unsupported as error:
            raise NotApplicable(f"grids that end above 0 are not supported: {error}") from error
        spread, expected = float(result.std()), math.hypot(end, STD)
        found = f"after 64 steps to {end} the samples of data N({MEAN}, {STD}^2) have"
        fits = 0.8 <= spread / expected <= 1.5
        require(fits, f"{found} a standard deviation of {spread:.2f}, not {expected:.2f}")
        mean = float(result.mean())
        require(abs(mean - MEAN) <= 0.15, f"{found} a mean of {mean:.2f}")


def check_gaussian(subject: Subject) -> None:
    """On a Gaussian, whose solution is a closed form, the error falls with the number of steps (ODE solvers)."""
    solver = _solver(subject)
    if solver.declared_order is None:
        raise NotApplicable("declares no order, as stochastic solvers do not")
    found = []
    for intervals in (4, 16, 64):
        grid = make_grid(solver.grid, intervals, 0.002, 80.0, EDM())
        result, exact = _integrate(solver, grid, (64, 4), torch.float64)
        found.append(float((result - exact).square().mean().sqrt()))
    text = ", ".join(f"{error:.2g}" for error in found)
    # at round-off there is nothing left to fall
    falls = all(late < early or late < 1e-12 for early, late in itertools.pairwise(found))
    require(falls, f"the error on a Gaussian is {text} with 4, 16, 64 steps: it does not fall")


def check_order(subject: Subject) -> None:
    """The declared order is the measured slope, on a Karras grid and on an uneven one."""
    solver = _solver(subject)
    declared = solver.declared_order
    if declared is None:
        raise NotApplicable("declares no order")
    for kind in GRIDS:
        slope = measured_order(solver, kind)
        agrees = abs(slope - declared) <= SLOPE_TOLERANCE
        require(agrees, f"declares order {declared}, but the error falls with slope {slope:.2f} on the {kind} grid")


def check_reference(subject: Subject) -> None:
    """Samples agree with another public implementation, where one is registered and here, at a few budgets."""
    if subject.name not in modules():
        raise NotApplicable("no reference is registered for it")
    missing, compared = "", 0
    for case in cases(subject.name):
        if case.tolerance is None:
            continue
        for nfe in {case.nfes[0], case.nfes[len(case.nfes) // 2], case.nfes[-1]}:
            try:
                theirs = reference(subject.name, case, nfe)
            except Unavailable as error:
                missing = str(error)
                continue
            compared += 1
            gap = difference(ours(case, nfe), theirs)
            where = f"{case.solver} differs from {case.what} of {case.against}"
            require(gap <= case.tolerance, f"{where} by {gap:.2g} at nfe={nfe}; the tolerance is {case.tolerance:.0e}")
    if not compared:
        raise NotApplicable(missing or "every registered reference is known to differ")
