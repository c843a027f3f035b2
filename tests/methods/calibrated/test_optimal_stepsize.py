"""The search against brute force and its limits; the fitted schedule against uniform ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.contract import Stage
from bench.nfe import Ledger
from bench.probe import grid_of, same_noise
from bench.process import EDM
from bench.registry import create
from bench.sampling import make_solver
from bench.schedule import euler, jumps, trajectory
from bench.suites.mixture import mixture
from methods.calibrated.optimal_stepsize import OptimalStepsize, search
from methods.solvers.ddim import DDIM

NODES = [10.0, 6.0, 3.0, 1.5, 0.8, 0.4, 0.1, 0.0]
LAST = len(NODES) - 1


def start(batch: int) -> Tensor:
    return 10 * torch.randn(batch, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def teacher(x: Tensor, sigma: float) -> Tensor:
    """Of the two-dimensional mixture; curved enough that the best way to a node is not always by its neighbour."""
    return mixture("mixture-2d").denoise(x, sigma)


EULER = euler(teacher)


def jump_along(path: tuple[int, ...], x: Tensor) -> Tensor:
    for i, j in itertools.pairwise(path):
        x0_hat = teacher(x, NODES[i])
        x = x0_hat + NODES[j] / NODES[i] * (x - x0_hat)
    return x


def test_all_nodes_reproduce_the_teacher_grid() -> None:
    x = start(3)
    path, cost = search(EULER, trajectory(EULER, x, NODES), NODES, LAST)
    assert path.tolist() == [[i] * 3 for i in range(LAST + 1)]
    assert float(cost.max()) < 1e-24


def test_two_steps_are_the_best_of_all_two_steps() -> None:
    # with two steps the state kept at a node is the only one there is, so the search is exact
    x = start(5)
    states = trajectory(EULER, x, NODES)
    path, cost = search(EULER, states, NODES, 2)
    for row in range(5):
        errors = {
            (0, i, LAST): float((jump_along((0, i, LAST), x[row : row + 1]) - states[-1, row]).square().mean())
            for i in range(1, LAST)
        }
        best = min(errors, key=lambda key: errors[key])
        assert tuple(path[:, row].tolist()) == best
        assert float(cost[row]) == pytest.approx(errors[best], rel=1e-9)


@pytest.mark.parametrize("steps", range(1, LAST + 1))
def test_cost_is_that_of_the_path(steps: int) -> None:
    x = start(4)
    states = trajectory(EULER, x, NODES)
    path, cost = search(EULER, states, NODES, steps)
    assert bool((path.diff(dim=0) > 0).all())
    for row in range(4):
        end = jump_along(tuple(path[:, row].tolist()), x[row : row + 1])
        expected = float((end - states[-1, row]).square().mean())
        assert float(cost[row]) == pytest.approx(expected, rel=1e-9, abs=1e-28)


def test_cost_falls_with_every_step() -> None:
    # on average: a single image may be lucky with fewer steps
    states = trajectory(EULER, start(64), NODES)
    for shared in (False, True):
        costs = torch.stack([search(EULER, states, NODES, k, shared)[1].mean() for k in range(1, LAST + 1)])
        assert bool((costs.diff() < 0).all())


def test_images_of_any_shape_and_a_shared_path() -> None:
    def gaussian(x: Tensor, sigma: float) -> Tensor:
        return 0.5 + 0.36 / (0.36 + sigma**2) * (x - 0.5)

    x = start(6).view(3, 1, 2, 2)
    states = trajectory(euler(gaussian), x, NODES)
    path, cost = search(euler(gaussian), states, NODES, 3, shared=True)
    assert (tuple(path.shape), tuple(cost.shape)) == ((4, 1), (1,))
    flat, _ = search(euler(gaussian), states.flatten(2), NODES, 3, shared=True)
    assert torch.equal(path, flat)


@pytest.mark.parametrize("aggregate", ["median", "shared"])
@pytest.mark.parametrize("nfe", [1, 2, 5, 8])
def test_better_than_the_grid_it_is_chosen_from(task: Callable, error: Callable, nfe: int, aggregate: str) -> None:
    method = OptimalStepsize(aggregate=aggregate, teacher_steps=60, images=16)
    for preset in ("gaussian", "mixture-2d"):
        fitting = task(preset)
        artifact = method.fit(fitting, nfe)
        assert (artifact["sigma"].shape, artifact["sigma"].dtype) == ((nfe + 1,), torch.float64)
        assert fitting.ledger.network_rows <= 16 * 60 * (nfe + 1)
        uniform = error(DDIM(), nfe, {}, preset)
        fitted = error(method, nfe, artifact, preset)
        assert fitted < uniform or (nfe == 1 and fitted == uniform)


@pytest.mark.parametrize("spec", ["heun", "dpm_solver"])
def test_single_step_solvers_are_searched_for_with_their_own_steps(spec: str) -> None:
    # with two steps the search is exact, so the best of all pairs of the solver's own steps is found
    solver, x = make_solver(spec), start(5)

    def integrate(path: tuple[int, ...], row: int) -> Tensor:
        one = x[row : row + 1]
        return solver.integrate(teacher, one, grid_of([NODES[i] for i in path], EDM()), same_noise(one))

    jump = jumps(solver, teacher, EDM())
    states = trajectory(jump, x, NODES)
    path, cost = search(jump, states, NODES, 2)
    for row in range(5):
        target = integrate(tuple(range(LAST + 1)), row)
        torch.testing.assert_close(states[-1, row : row + 1], target, rtol=1e-10, atol=1e-12)
        errors = {(0, i, LAST): float((integrate((0, i, LAST), row) - target).square().mean()) for i in range(1, LAST)}
        best = min(errors, key=lambda key: errors[key])
        assert tuple(path[:, row].tolist()) == best
        assert float(cost[row]) == pytest.approx(errors[best], rel=1e-8)
    if spec == "heun":
        assert path.tolist() != search(EULER, trajectory(EULER, x, NODES), NODES, 2)[0].tolist()


@pytest.mark.parametrize(("spec", "nfe", "steps"), [("heun", 5, 3), ("dpm_solver", 5, 3)])
def test_the_search_for_a_solver_helps_it(task: Callable, error: Callable, spec: str, nfe: int, steps: int) -> None:
    own = OptimalStepsize(solver=spec, teacher_steps=30, images=16)
    artifact = own.fit(task(), nfe)
    assert len(artifact["sigma"]) == steps + 1
    assert error(own, nfe, artifact) < 0.7 * error(create("method", spec), nfe, {})


def test_multistep_solvers_are_searched_for_with_eulers_steps(task: Callable, error: Callable) -> None:
    small = {"teacher_steps": 40, "images": 4}
    euler_steps = OptimalStepsize(**small).fit(task(), 5)
    for spec in ("ipndm[order=2]", "dpm_solver_pp"):
        artifact = OptimalStepsize(solver=spec, **small).fit(task(), 5)
        assert torch.equal(artifact["sigma"], euler_steps["sigma"])
        assert error(OptimalStepsize(solver=spec, **small), 5, artifact) < 0.3
        assert error(OptimalStepsize(sampler=spec, **small), 5, euler_steps) < 0.3
    with pytest.raises(Unsupported, match="heun makes 9 evaluations on the 5 steps"):
        error(OptimalStepsize(sampler="heun"), 5, euler_steps)


def test_levels_are_those_of_the_fine_grid(task: Callable) -> None:
    fine = OptimalStepsize(teacher_grid="logsnr", teacher_steps=7, images=2).fit(task(), 7)["sigma"]
    assert torch.equal(fine, task().grid("logsnr", 7).sigma)


def test_what_cannot_be_fitted(task: Callable) -> None:
    with pytest.raises(Unsupported, match="teacher_steps=4"):
        OptimalStepsize(teacher_steps=4).fit(task(), 5)
    problem = Stage.default().teacher(False, torch.float32).problem(0, [0], Ledger())
    with pytest.raises(Unsupported, match="bench fit"):
        OptimalStepsize().sample(problem, 4)


def test_the_same_seed_fits_the_same_schedule(task: Callable) -> None:
    method = OptimalStepsize(teacher_steps=30, images=4)
    assert torch.equal(method.fit(task(seed=3), 4)["sigma"], method.fit(task(seed=3), 4)["sigma"])
