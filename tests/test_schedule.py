"""Fitted schedules: budgets, what is refused, and the steps a search may take."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from bench.api import Problem, Unsupported
from bench.contract import Stage
from bench.errors import UsageError
from bench.nfe import Ledger
from bench.probe import grid_of, same_noise
from bench.process import EDM
from bench.sampling import make_solver
from bench.schedule import Schedule, euler, jumps, trajectory
from bench.suites.mixture import mixture

FIVE = torch.tensor([80.0, 10.0, 3.0, 1.0, 0.3, 0.0], dtype=torch.float64)


@pytest.fixture
def problem() -> Callable[..., Problem]:
    def make(budget: int, **artifact: Tensor) -> Problem:
        made = Stage.default().teacher(False, torch.float64).problem(0, [3, 4], Ledger(budget=budget))
        return dataclasses.replace(made, artifact=artifact)

    return make


def teacher(x: Tensor, sigma: float | Tensor) -> Tensor:
    return mixture("mixture-2d").denoise(x, sigma)


def start(batch: int = 3) -> Tensor:
    return 10 * torch.randn(batch, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_the_solver_runs_along_the_artifact(problem: Callable[..., Problem]) -> None:
    for spec in ("ddim", "ipndm", "dpm_solver_pp"):
        at = problem(5)
        expected = make_solver(spec).integrate(at.denoise, at.x, grid_of(FIVE.tolist(), EDM()), at.noise)
        made = Schedule(solver=spec).sample(problem(5, sigma=FIVE), 5)
        torch.testing.assert_close(made, expected, rtol=1e-12, atol=1e-12)
        other = Schedule(solver="ddim", sampler=spec).sample(problem(5, sigma=FIVE), 5)
        torch.testing.assert_close(other, expected, rtol=1e-12, atol=1e-12)


def test_a_sampler_that_needs_another_number_is_refused(problem: Callable[..., Problem]) -> None:
    with pytest.raises(Unsupported, match="heun makes 9 evaluations on the 5 steps fitted for nfe=5"):
        Schedule(sampler="heun").sample(problem(9, sigma=FIVE), 5)


@pytest.mark.parametrize(
    ("spec", "nfe", "steps"),
    [("ddim", 1, 1), ("ddim", 7, 7), ("heun", 7, 4), ("dpm_solver", 5, 3), ("ddim[afs=true]", 3, 4)],
)
def test_steps_of_a_budget(problem: Callable[..., Problem], spec: str, nfe: int, steps: int) -> None:
    assert Schedule(solver=spec).steps(problem(nfe), nfe) == steps


def test_impossible_budgets_say_which_are_possible(problem: Callable[..., Problem]) -> None:
    for ask in (Schedule(solver="dpm_solver").steps, Schedule(solver="dpm_solver").sample):
        with pytest.raises(Unsupported, match="dpm_solver makes 5 evaluations on 3 steps, not 4; use nfe 5"):
            ask(problem(4), 4)
    with pytest.raises(Unsupported, match="use nfe 3 or 5"):
        Schedule(solver="heun").sample(problem(4), 4)
    above_zero = Schedule(solver="heun[grid=karras[end=sigma_min]]", teacher_grid="karras[end=sigma_min]")
    assert above_zero.steps(problem(4), 4) == 2


def test_without_an_artifact(problem: Callable[..., Problem]) -> None:
    with pytest.raises(Unsupported, match="no schedule is fitted for nfe=3; run bench fit with --nfe 3"):
        Schedule().sample(problem(3), 3)
    assert Schedule().artifact_name(12) == "nfe12"


def test_bad_parameters() -> None:
    with pytest.raises((UsageError, ValidationError), match="karas"):
        Schedule(teacher_grid="karas")
    assert Schedule.sampling_only == {"sampler"}


@pytest.mark.parametrize("spec", ["heun", "dpm_solver[order=3]"])
def test_jumps_of_a_single_step_solver_are_its_steps(spec: str) -> None:
    solver, calls = make_solver(spec), 0

    def counted(x: Tensor, sigma: float | Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return teacher(x, sigma)

    x = start()
    ends = jumps(solver, counted, EDM())(x, 10.0, [4.0, 1.0, 0.0])
    for end, level in zip(ends, (4.0, 1.0, 0.0), strict=True):
        expected = solver.integrate(teacher, x, grid_of([10.0, level], EDM()), same_noise(x))
        torch.testing.assert_close(end, expected, rtol=1e-12, atol=1e-12)
    # the evaluation at x is shared; the step to 0 needs no other
    assert calls == {"heun": 3, "dpm_solver[order=3]": 5}[spec]


@pytest.mark.parametrize("spec", ["ddim", "ipndm", "unipc", "ddpm", "ddim[afs=true]"])
def test_jumps_of_any_other_solver_are_eulers(spec: str) -> None:
    x = start().view(3, 1, 2)

    def shaped(x: Tensor, sigma: float | Tensor) -> Tensor:
        return teacher(x.flatten(1), sigma).view_as(x)

    ends = jumps(make_solver(spec), shaped, EDM())(x, 10.0, [5.0, 0.0])
    x0_hat = shaped(x, 10.0)
    torch.testing.assert_close(ends, torch.stack([(x0_hat + x) / 2, x0_hat]))


def test_trajectory_is_the_solvers_own() -> None:
    x, nodes = start(), [10.0, 4.0, 1.0, 0.0]
    for jump, spec in ((euler(teacher), "ddim"), (jumps(make_solver("heun"), teacher, EDM()), "heun")):
        states = trajectory(jump, x, nodes)
        assert torch.equal(states[0], x)
        for i in (1, 2, 3):
            expected = make_solver(spec).integrate(teacher, x, grid_of(nodes[: i + 1], EDM()), same_noise(x))
            torch.testing.assert_close(states[i], expected, rtol=1e-12, atol=1e-12)
