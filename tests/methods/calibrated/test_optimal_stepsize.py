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
from bench.registry import create
from bench.suites.mixture import mixture
from methods.calibrated.optimal_stepsize import OptimalStepsize, euler_trajectory, search
from methods.solvers.ddim import DDIM

NODES = [10.0, 6.0, 3.0, 1.5, 0.8, 0.4, 0.1, 0.0]
LAST = len(NODES) - 1


def start(batch: int) -> Tensor:
    return 10 * torch.randn(batch, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def teacher(x: Tensor, sigma: float) -> Tensor:
    """Of the two-dimensional mixture; curved enough that the best way to a node is not always by its neighbour."""
    return mixture("mixture-2d").denoise(x, sigma)


def jump_along(path: tuple[int, ...], x: Tensor) -> Tensor:
    for i, j in itertools.pairwise(path):
        x0_hat = teacher(x, NODES[i])
        x = x0_hat + NODES[j] / NODES[i] * (x - x0_hat)
    return x


def test_all_nodes_reproduce_the_teacher_grid() -> None:
    x = start(3)
    path, cost = search(teacher, euler_trajectory(teacher, x, NODES), NODES, LAST)
    assert path.tolist() == [[i] * 3 for i in range(LAST + 1)]
    assert float(cost.max()) < 1e-24


def test_two_steps_are_the_best_of_all_two_steps() -> None:
    # with two steps the state kept at a node is the only one there is, so the search is exact
    x = start(5)
    trajectory = euler_trajectory(teacher, x, NODES)
    path, cost = search(teacher, trajectory, NODES, 2)
    for row in range(5):
        errors = {
            (0, i, LAST): float((jump_along((0, i, LAST), x[row : row + 1]) - trajectory[-1, row]).square().mean())
            for i in range(1, LAST)
        }
        best = min(errors, key=lambda key: errors[key])
        assert tuple(path[:, row].tolist()) == best
        assert float(cost[row]) == pytest.approx(errors[best], rel=1e-9)


@pytest.mark.parametrize("steps", range(1, LAST + 1))
def test_cost_is_that_of_the_path(steps: int) -> None:
    x = start(4)
    trajectory = euler_trajectory(teacher, x, NODES)
    path, cost = search(teacher, trajectory, NODES, steps)
    assert bool((path.diff(dim=0) > 0).all())
    for row in range(4):
        end = jump_along(tuple(path[:, row].tolist()), x[row : row + 1])
        expected = float((end - trajectory[-1, row]).square().mean())
        assert float(cost[row]) == pytest.approx(expected, rel=1e-9, abs=1e-28)


def test_cost_falls_with_every_step() -> None:
    # on average: a single image may be lucky with fewer steps
    trajectory = euler_trajectory(teacher, start(64), NODES)
    for shared in (False, True):
        costs = torch.stack([search(teacher, trajectory, NODES, k, shared)[1].mean() for k in range(1, LAST + 1)])
        assert bool((costs.diff() < 0).all())


def test_images_of_any_shape_and_a_shared_path() -> None:
    def gaussian(x: Tensor, sigma: float) -> Tensor:
        return 0.5 + 0.36 / (0.36 + sigma**2) * (x - 0.5)

    x = start(6).view(3, 1, 2, 2)
    trajectory = euler_trajectory(gaussian, x, NODES)
    path, cost = search(gaussian, trajectory, NODES, 3, shared=True)
    assert (tuple(path.shape), tuple(cost.shape)) == ((4, 1), (1,))
    flat, _ = search(gaussian, trajectory.flatten(2), NODES, 3, shared=True)
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


def test_any_solver_of_one_evaluation_per_step(task: Callable, error: Callable) -> None:
    artifact = OptimalStepsize(teacher_steps=40, images=4).fit(task(), 5)
    for spec in ("ddim", "ipndm[order=2]"):
        assert error(create("method", f"optimal_stepsize[solver={spec},teacher_steps=40]"), 5, artifact) < 0.3
    with pytest.raises(Unsupported, match="3 steps of 5 evaluations"):
        error(OptimalStepsize(solver="heun"), 5, artifact)


def test_what_cannot_be_fitted(task: Callable) -> None:
    with pytest.raises(Unsupported, match="teacher_steps=4"):
        OptimalStepsize(teacher_steps=4).fit(task(), 5)
    problem = Stage.default().teacher(False, torch.float32).problem(0, [0], Ledger())
    with pytest.raises(Unsupported, match="bench fit"):
        OptimalStepsize().sample(problem, 4)


def test_the_same_seed_fits_the_same_schedule(task: Callable) -> None:
    method = OptimalStepsize(teacher_steps=30, images=4)
    assert torch.equal(method.fit(task(seed=3), 4)["sigma"], method.fit(task(seed=3), 4)["sigma"])
