"""The checks of the contract, each a function of a ``Subject``; ``CHECKS`` is the order in which they run.

They show what ``docs`` promise of every method: any budget from 1 to 12 works or is refused with a reason,
evaluations are what was asked for, samples do not depend on the batch they are in, and a declared order is a measured
one.
"""

from __future__ import annotations

import importlib
import itertools
import math

import torch
from torch import Tensor

from bench import registry
from bench.api import Grid, Info, Solver, Unsupported
from bench.contract import Call, Check, ContractViolation, NotApplicable, Result, Subject
from bench.convergence import GRIDS, measured_order
from bench.grids import make_grid
from bench.info import FAMILIES
from bench.process import EDM
from bench.rng import SampleNoise

BUDGETS = range(1, 13)
DTYPES = (torch.float32, torch.float64)
SLOPE_TOLERANCE = 0.15


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise ContractViolation(sentence)


def _sound(result: Result, call: Call) -> None:
    x, samples = result.problem.x, result.samples
    _require(samples.shape == x.shape, f"samples are {tuple(samples.shape)}, not {tuple(x.shape)}, at {call}")
    _require(samples.dtype == x.dtype, f"samples are {samples.dtype}, not {x.dtype}, at {call}")
    _require(bool(torch.isfinite(samples).all()), f"samples are not finite at {call}")


def _solver(subject: Subject) -> Solver:
    if not isinstance(subject.method, Solver):
        raise NotApplicable("not a solver")
    return subject.method


def check_info(subject: Subject) -> None:
    """INFO is made of literals, says what it must, and is what importing gives."""
    entry = registry.entry("method", subject.name)
    info = entry.info
    if info is None:
        raise ContractViolation(f"INFO cannot be read without importing the file: {entry.problem}")
    loaded = registry.load("method", subject.name)
    imported = getattr(importlib.import_module(loaded.__module__), "INFO", None)
    _require(isinstance(imported, Info) and imported == info, "INFO is not what its literals say")
    _require(entry.path.stem == subject.name, f"the file is {entry.path.name}, not {subject.name}.py")
    _require(info.family in FAMILIES, f"INFO.family is {info.family!r}, not one of {', '.join(FAMILIES)}")
    _require(bool(info.summary.strip()), "INFO.summary is empty")
    for paper in info.papers:
        known = not paper.arxiv or paper.arxiv in entry.doc
        _require(known, f"the docstring of the file does not name arXiv {paper.arxiv}, which INFO.papers does")


def check_parameters(subject: Subject) -> None:
    """The spec that stands in records makes the same method again."""
    spec = registry.canonical("method", subject.name, subject.method)
    again = registry.create("method", spec)
    _require(again == subject.method, f"{spec} makes {again!r}, not {subject.method!r}")
    cls = type(subject.method)
    undocumented = [name for name in cls.model_fields if name != "grid" and name not in (cls.__doc__ or "")]
    _require(not undocumented, f"the docstring of the class does not describe {', '.join(undocumented)}")


def _budgets(subject: Subject, guided: bool) -> None:
    refused = ""
    worked = 0
    for nfe in BUDGETS:
        call = Call(nfe, guided=guided)
        try:
            result = subject.sample(call)
        except Unsupported as error:
            refused = str(error)
            continue
        worked += 1
        _sound(result, call)
        ledger = result.ledger
        _require(ledger.nfe == nfe, f"{ledger.nfe} denoiser calls, not {nfe}, and not Unsupported, at {call}")
        rows = len(call.index) * nfe
        _require(ledger.rows == rows, f"{ledger.rows} samples went through the denoiser, not {rows}, at {call}")
        networks = rows * (2 if guided else 1)
        _require(ledger.network_rows == networks, f"{ledger.network_rows} network rows, not {networks}, at {call}")
    if not worked and subject.needs_artifact:
        raise NotApplicable(f"there are no artifacts here: {refused}")
    _require(worked > 0, f"no budget from 1 to 12 works: {refused}")


def check_budget(subject: Subject) -> None:
    """Budgets 1 to 12: counted calls equal the budget, or Unsupported with a reason."""
    _budgets(subject, guided=False)


def check_guidance(subject: Subject) -> None:
    """The same with guidance, where one call is two network evaluations."""
    _budgets(subject, guided=True)


def check_precision(subject: Subject) -> None:
    """The state keeps its dtype, and float32 agrees with float64 to 1 % of the largest sample."""
    nfe = subject.supported(4)
    results = {}
    for dtype in DTYPES:
        call = Call(nfe, dtype=dtype)
        results[dtype] = subject.sample(call)
        _sound(results[dtype], call)
    single, double = (results[dtype].samples.double() for dtype in DTYPES)
    error = float((single - double).abs().max())
    _require(error <= 0.01 * float(double.abs().max()), f"float32 and float64 differ by {error:.2g} at nfe={nfe}")


def check_batch(subject: Subject) -> None:
    """A sample is the same alone and in a batch, to round-off."""
    nfe = subject.supported(4)
    together = subject.sample(Call(nfe, index=(5, 6, 7, 8), dtype=torch.float64)).samples
    for row, index in enumerate((5, 6, 7, 8)):
        alone = subject.sample(Call(nfe, index=(index,), dtype=torch.float64)).samples
        error = float((alone[0] - together[row]).abs().max())
        _require(error <= 1e-9, f"sample {index} differs by {error:.2g} between a batch of 1 and a batch of 4")


def check_determinism(subject: Subject) -> None:
    """Two equal calls are equal bit by bit, whatever came between; x and the global generator are left alone."""
    nfe = subject.supported(4)
    other = subject.supported(nfe + 1)
    first = subject.sample(Call(nfe)).samples.clone()
    subject.sample(Call(other, index=(9,)))
    before = torch.get_rng_state()
    second = subject.sample(Call(nfe))
    _require(torch.equal(first, second.samples), f"two equal calls at nfe={nfe} give different samples")
    _require(
        torch.equal(before, torch.get_rng_state()), "sample draws from torch's global generator, not problem.noise"
    )
    fresh, _, _ = subject.problem(Call(nfe))
    _require(torch.equal(fresh.x, second.problem.x), "sample changes problem.x in place")


def check_levels(subject: Subject) -> None:
    """The denoiser is only asked for noise levels in (0, sigma_max]."""
    for nfe in BUDGETS:
        try:
            result = subject.sample(Call(nfe))
        except Unsupported:
            continue
        highest = result.problem.sigma_max * (1 + 1e-6)
        wrong = [level for level in result.levels if not 0 < level <= highest]
        _require(not wrong, f"the denoiser is called at sigma = {wrong[:1]}, outside (0, {highest:.6g}], at nfe={nfe}")


def check_artifact(subject: Subject) -> None:
    """A method that needs an artifact refuses to run without one."""
    if not subject.needs_artifact:
        raise NotApplicable("needs no artifact")
    for nfe in BUDGETS:
        if not subject.method.artifact_name(nfe):
            continue
        try:
            subject.sample(Call(nfe), artifact=False)
        except Unsupported:
            continue
        raise ContractViolation(f"runs at nfe={nfe} without the artifact {subject.method.artifact_name(nfe)!r}")


def _integrate(solver: Solver, grid: Grid, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A solver's result and the exact one for data N(mean, std^2), whose denoiser and flow are closed forms."""
    noise = SampleNoise(("contract", 0, "method"), range(shape[0]), shape[1:], dtype)
    start = SampleNoise(("contract", 0, "initial"), range(shape[0]), shape[1:], dtype)
    mean, std = 0.3, 0.7
    high, low = grid.nodes[0], grid.nodes[-1]
    x = mean + math.hypot(high, std) * start.normal()

    def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
        level = torch.as_tensor(sigma, dtype=x.dtype)
        gain = std**2 / (std**2 + level**2)
        return mean + gain.view(-1, *[1] * (x.ndim - 1)) * (x - mean)

    with torch.inference_mode():
        result = solver.integrate(denoise, x.clone(), grid, noise)
    return result, mean + math.hypot(low, std) / math.hypot(high, std) * (x - mean)


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
                    _require(bool(str(error).strip()), f"Unsupported without a reason on the grid {levels}")
                    continue
                where = f"on the grid {levels} with a state {shape} in {dtype}"
                _require(result.shape == exact.shape and result.dtype == dtype, f"wrong shape or dtype {where}")
                _require(bool(torch.isfinite(result).all()), f"not finite {where}")


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
    _require(falls, f"the error on a Gaussian is {text} with 4, 16, 64 steps: it does not fall")


def check_order(subject: Subject) -> None:
    """The declared order is the measured slope, on a Karras grid and on an uneven one."""
    solver = _solver(subject)
    declared = solver.declared_order
    if declared is None:
        raise NotApplicable("declares no order")
    for kind in GRIDS:
        slope = measured_order(solver, kind)
        agrees = abs(slope - declared) <= SLOPE_TOLERANCE
        _require(agrees, f"declares order {declared}, but the error falls with slope {slope:.2f} on the {kind} grid")


CHECKS: tuple[Check, ...] = (
    Check("info", "a method that cannot be imported can still be listed and cited", check_info),
    Check("parameters", "the name in a record makes the same method again", check_parameters),
    Check("budget", "methods are compared at equal numbers of evaluations", check_budget),
    Check("guidance", "guidance costs what it costs, and is counted", check_guidance),
    Check("precision", "the solver's own arithmetic does not cost quality", check_precision),
    Check("batch", "results do not depend on the batch size", check_batch),
    Check("determinism", "a run can be repeated and resumed", check_determinism),
    Check("levels", "the teacher is asked only for what it was trained on", check_levels),
    Check("artifact", "nothing is substituted silently for what was not fitted", check_artifact),
    Check("grids", "any grid composes with any solver", check_grids),
    Check("gaussian", "more steps are not in vain", check_gaussian),
    Check("order", "a declared property is a measured one", check_order),
)
