"""The checks of the contract, each a function of a ``Subject``; ``CHECKS`` is the order in which they run.

They show what ``docs`` promise of every method: any budget from 1 to 12 works or is refused with a reason,
evaluations are what was asked for, and samples do not depend on the batch they are in or on what ran before or between.
What is asked of solvers only is in ``bench.contract_solver_checks``.
"""

from __future__ import annotations

import importlib
from dataclasses import replace

import torch
from torch import Tensor

from bench import registry
from bench.api import Denoiser, Info, Unsupported
from bench.caching import Caching
from bench.contract import Call, Check, ContractViolation, NotApplicable, Result, Subject
from bench.contract_solver_checks import (
    DTYPES,
    check_gaussian,
    check_grids,
    check_one_step,
    check_order,
    check_reference,
    check_stops,
    require,
)

BUDGETS = range(1, 13)


def _sound(result: Result, call: Call) -> None:
    x, samples = result.problem.x, result.samples
    require(samples.shape == x.shape, f"samples are {tuple(samples.shape)}, not {tuple(x.shape)}, at {call}")
    require(samples.dtype == x.dtype, f"samples are {samples.dtype}, not {x.dtype}, at {call}")
    require(bool(torch.isfinite(samples).all()), f"samples are not finite at {call}")


def check_info(subject: Subject) -> None:
    """INFO is made of literals, says what it must, and is what importing gives."""
    entry = registry.entry("method", subject.name)
    info = entry.info
    if info is None:
        raise ContractViolation(f"INFO cannot be read without importing the file: {entry.problem}")
    loaded = registry.load("method", subject.name)
    imported = getattr(importlib.import_module(loaded.__module__), "INFO", None)
    require(isinstance(imported, Info) and imported == info, "INFO is not what its literals say")
    require(entry.path.stem == subject.name, f"the file is {entry.path.name}, not {subject.name}.py")
    require(info.family in registry.GROUPS, f"INFO.family is {info.family!r}, not one of {', '.join(registry.GROUPS)}")
    require(bool(info.summary.strip()), "INFO.summary is empty")
    for paper in info.papers:
        known = not paper.arxiv or paper.arxiv in entry.doc
        require(known, f"the docstring of the file does not name arXiv {paper.arxiv}, which INFO.papers does")


def check_parameters(subject: Subject) -> None:
    """The spec that stands in records makes the same method again."""
    spec = registry.canonical("method", subject.name, subject.method)
    again = registry.create("method", spec)
    require(again == subject.method, f"{spec} makes {again!r}, not {subject.method!r}")
    cls = type(subject.method)
    undocumented = [name for name in cls.model_fields if name != "grid" and name not in (cls.__doc__ or "")]
    require(not undocumented, f"the docstring of the class does not describe {', '.join(undocumented)}")


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
        require(ledger.nfe == nfe, f"{ledger.nfe} denoiser calls, not {nfe}, and not Unsupported, at {call}")
        rows = len(call.index) * nfe
        require(ledger.rows == rows, f"{ledger.rows} samples went through the denoiser, not {rows}, at {call}")
        networks = rows * (2 if guided else 1)
        require(ledger.network_rows == networks, f"{ledger.network_rows} network rows, not {networks}, at {call}")
    if not worked and subject.needs_artifact:
        raise NotApplicable(f"there are no artifacts here: {refused}")
    if not worked and isinstance(subject.method, Caching) and not subject.stage.suite.trainable:
        raise NotApplicable(f"there is no network here: {refused}")
    require(worked > 0, f"no budget from 1 to 12 works: {refused}")


def check_budget(subject: Subject) -> None:
    """Budgets 1 to 12: counted calls equal the budget, or Unsupported with a reason."""
    _budgets(subject, guided=False)


def check_guidance(subject: Subject) -> None:
    """The same with guidance, where one call is two network evaluations."""
    _budgets(subject, guided=True)


def check_precision(subject: Subject) -> None:
    """The state keeps its dtype, and float32 agrees with float64 to 1 % of the largest sample."""
    first = subject.supported(1)
    for nfe in sorted({first, subject.supported(max(first, 4))}):
        results = {}
        for dtype in DTYPES:
            call = Call(nfe, dtype=dtype)
            results[dtype] = subject.sample(call)
            _sound(results[dtype], call)
        single, double = (results[dtype].samples.double() for dtype in DTYPES)
        error = float((single - double).abs().max())
        require(error <= 0.01 * float(double.abs().max()), f"float32 and float64 differ by {error:.2g} at nfe={nfe}")


def check_batch(subject: Subject) -> None:
    """A sample is the same alone and in a batch, to the round-off of its dtype."""
    nfe = subject.supported(4)
    index = (5, 6, 7, 8)
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        together = subject.sample(Call(nfe, index=index, dtype=dtype)).samples
        scale = max(1.0, float(together.abs().max()))
        for row, number in enumerate(index):
            alone = subject.sample(Call(nfe, index=(number,), dtype=dtype)).samples
            error = float((alone[0] - together[row]).abs().max()) / scale
            require(
                error <= tolerance, f"sample {number} differs by {error:.2g} between a batch of 1 and of 4, {dtype}"
            )


def check_determinism(subject: Subject) -> None:
    """Two equal calls are equal bit by bit, whatever came between; x and the global generator are left alone."""
    nfe = subject.supported(4)
    other = subject.supported(nfe + 1)
    first = subject.sample(Call(nfe)).samples.clone()
    subject.sample(Call(other, index=(9,)))
    before = torch.get_rng_state()
    second = subject.sample(Call(nfe))
    require(torch.equal(first, second.samples), f"two equal calls at nfe={nfe} give different samples")
    require(torch.equal(before, torch.get_rng_state()), "sample draws from torch's global generator, not problem.noise")
    fresh, _, _ = subject.problem(Call(nfe))
    require(torch.equal(fresh.x, second.problem.x), "sample changes problem.x in place")


def _interleaved(subject: Subject, call: Call, at: int) -> Tensor:
    """The samples of a call during which, at one of its evaluations, the same method solves another problem."""
    problem, _, _ = subject.problem(call)
    calls = 0

    def other(denoise: Denoiser) -> Denoiser:
        def call_denoiser(x: Tensor, sigma: float | Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            if calls == at:
                subject.sample(Call(call.nfe, index=(11, 12, 13)))
            return denoise(x, sigma)

        return call_denoiser

    student = problem.student
    between = replace(problem, denoise=other(problem.denoise), student=lambda weights: other(student(weights)))
    with torch.inference_mode():
        return subject.method.sample(between, call.nfe)


def check_interleaved(subject: Subject) -> None:
    """Two problems that are solved at the same time with one method give what each gives alone."""
    nfe = subject.supported(4)
    call = Call(nfe)
    alone = subject.sample(call).samples
    for at in range(1, nfe + 1):
        same = torch.equal(_interleaved(subject, call, at), alone)
        require(same, f"another problem that is solved during evaluation {at} of {nfe} changes the samples")


def check_levels(subject: Subject) -> None:
    """The denoiser is only asked for noise levels in (0, sigma_max]."""
    for nfe in BUDGETS:
        try:
            result = subject.sample(Call(nfe))
        except Unsupported:
            continue
        highest = result.problem.sigma_max * (1 + 1e-6)
        wrong = [level for level in result.levels if not 0 < level <= highest]
        require(not wrong, f"the denoiser is called at sigma = {wrong[:1]}, outside (0, {highest:.6g}], at nfe={nfe}")


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


CHECKS: tuple[Check, ...] = (
    Check("info", "a method that cannot be imported can still be listed and cited", check_info),
    Check("parameters", "the name in a record makes the same method again", check_parameters),
    Check("budget", "methods are compared at equal numbers of evaluations", check_budget),
    Check("guidance", "guidance costs what it costs, and is counted", check_guidance),
    Check("precision", "the solver's own arithmetic does not cost quality", check_precision),
    Check("batch", "results do not depend on the batch size", check_batch),
    Check("determinism", "a run can be repeated and resumed", check_determinism),
    Check("interleaved", "no state survives a call or is shared between two", check_interleaved),
    Check("levels", "the teacher is asked only for what it was trained on", check_levels),
    Check("artifact", "nothing is substituted silently for what was not fitted", check_artifact),
    Check("grids", "any grid composes with any solver", check_grids),
    Check("one_step", "one evaluation is worth what the teacher says", check_one_step),
    Check("stops", "a grid that ends above 0 is not denoised behind the user's back", check_stops),
    Check("gaussian", "more steps are not in vain", check_gaussian),
    Check("order", "a declared property is a measured one", check_order),
    Check("reference", "a name means what it means elsewhere", check_reference),
)
