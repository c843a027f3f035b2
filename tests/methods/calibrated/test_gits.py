"""Costs against their definition, the search against brute force, and all of it against the authors' code."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from bench.api import Method, Unsupported
from bench.contract import Stage, run_checks
from bench.grids import make_grid
from bench.process import EDM
from bench.sampling import make_solver
from bench.suites.mixture import Mixture, mixture
from methods.calibrated.gits import GITS, cheapest, costs, deviation, follow
from methods.solvers.ddim import DDIM

# zju-pi/diff-sampler, gits-main, commit 68d5ce42, get_dp_list on the batch below: 21 levels, sigma 10 to 0.02
AUTHORS = {
    ("ipndm", "dev"): {1: [], 2: [12], 3: [10, 12], 5: [11, 13, 15, 17], 8: [10, 11, 12, 13, 14, 16, 18]},
    ("ipndm", "l1"): {1: [], 2: [10], 3: [9, 12], 5: [7, 9, 11, 13], 8: [6, 8, 10, 11, 12, 14, 16]},
    ("ipndm", "l2"): {1: [], 2: [10], 3: [9, 12], 5: [7, 9, 11, 13], 8: [6, 8, 10, 11, 13, 15, 17]},
    ("ddim", "dev"): {1: [], 2: [12], 3: [11, 13], 5: [10, 12, 14, 17], 8: [8, 10, 11, 12, 13, 14, 17]},
    ("ddim", "l1"): {1: [], 2: [10], 3: [9, 12], 5: [7, 9, 11, 13], 8: [5, 7, 9, 10, 11, 13, 16]},
    ("ddim", "l2"): {1: [], 2: [10], 3: [9, 12], 5: [7, 9, 11, 13], 8: [5, 7, 9, 10, 11, 13, 16]},
}
COEFFICIENTS = {
    ("dev", 0.8): [8, 10, 12],
    ("l2", 0.8): [4, 7, 10],
    ("dev", 1.0): [9, 11, 12],
    ("l2", 1.0): [6, 9, 12],
    ("dev", 1.3): [11, 13, 17],
    ("l2", 1.3): [9, 11, 13],
}
FIRST_STEPS = {2: [8, 12], 3: [8, 10, 12], 5: [8, 11, 13, 15, 17]}  # afs, solver and teacher ipndm, metric dev
GRID = "karras[end=sigma_min]"


def batch() -> SimpleNamespace:
    """32 states at sigma 10: normal quantiles of the golden ratio's multiples, so that no generator defines them."""
    u = (torch.arange(64, dtype=torch.float64) + 0.5) * 0.6180339887498949
    z = math.sqrt(2) * torch.erfinv(2 * (u % 1) - 1).view(32, 2)
    return SimpleNamespace(x=10 * z, denoise=mixture("mixture-2d").denoise)


def fitting() -> SimpleNamespace:
    """A fitting task between the authors' levels."""
    return SimpleNamespace(
        grid=lambda spec, steps: make_grid(spec, steps, 0.02, 10.0, EDM()),
        noise=lambda count: batch(),
        solver=make_solver,
        progress=lambda *_: None,
        process=EDM(),
    )


@pytest.mark.parametrize(("teacher", "metric"), list(AUTHORS))
def test_schedules_are_the_authors(teacher: str, metric: str) -> None:
    grid = make_grid(GRID, 20, 0.02, 10.0, EDM())
    for steps, inner in AUTHORS[teacher, metric].items():
        method = GITS(teacher=teacher, metric=metric, teacher_steps=20, images=32, teacher_grid=GRID)
        sigma = method.fit(fitting(), steps)["sigma"]  # type: ignore[arg-type]
        assert torch.equal(sigma, grid.sigma[[0, *inner, 20]])


@pytest.mark.parametrize(("metric", "coeff"), list(COEFFICIENTS))
def test_the_coefficient_is_the_authors(metric: str, coeff: float) -> None:
    grid = make_grid(GRID, 20, 0.02, 10.0, EDM())
    found = costs(*follow(make_solver("ipndm"), batch(), grid), grid.sigma, metric)  # type: ignore[arg-type]
    assert cheapest(found, 4, coeff) == [0, *COEFFICIENTS[metric, coeff], 20]
    method = GITS(metric=metric, coeff=coeff, teacher_steps=20, teacher_grid=GRID)
    sigma = method.fit(fitting(), 4)["sigma"]  # type: ignore[arg-type]
    assert torch.equal(sigma, grid.sigma[[0, *COEFFICIENTS[metric, coeff], 20]])


@pytest.mark.parametrize("nfe", list(FIRST_STEPS))
def test_the_analytical_first_step_is_the_authors(nfe: int) -> None:
    grid = make_grid(GRID, 20, 0.02, 10.0, EDM())
    method = GITS(solver="ipndm[afs=true]", teacher_steps=20, teacher_grid=GRID)
    sigma = method.fit(fitting(), nfe)["sigma"]  # type: ignore[arg-type]
    assert torch.equal(sigma, grid.sigma[[0, *FIRST_STEPS[nfe], 20]])


def test_the_defaults_are_the_authors() -> None:
    method = GITS()
    assert (method.metric, method.coeff, method.teacher_steps, method.images) == ("dev", 1.15, 60, 256)
    assert (method.solver, method.teacher) == ("ipndm", "ipndm")


def test_deviation_is_the_distance_from_a_line() -> None:
    start, end = torch.tensor([[1.0, 1, 0]]), torch.tensor([[3.0, 1, 0]])
    y = torch.tensor([[[2.0, 4, 4]], [[7.0, 1, 0]], [[1.0, 1, -2]]])
    torch.testing.assert_close(deviation(y, start, end), torch.tensor([[5.0], [0.0], [2.0]]))


def test_the_trajectory_is_the_solvers() -> None:
    grid = make_grid("karras", 6, 0.02, 10.0, EDM())
    one = batch()
    one.x, one.denoise = one.x.view(32, 1, 2, 1), lambda x, s: mixture("mixture-2d").denoise(x.flatten(1), s).view_as(x)
    states, predictions = follow(DDIM(), one, grid)  # type: ignore[arg-type]
    assert (tuple(states.shape), tuple(predictions.shape)) == ((7, 32, 2), (6, 32, 2))
    for i, (sigma_s, sigma_t) in enumerate(grid.steps()):
        x0_hat = mixture("mixture-2d").denoise(states[i], sigma_s)
        torch.testing.assert_close(predictions[i], x0_hat)
        torch.testing.assert_close(states[i + 1], x0_hat + sigma_t / sigma_s * (states[i] - x0_hat))


@pytest.mark.parametrize(("metric", "order"), [("l1", 1), ("l2", 2)])
def test_costs_are_mean_distances_of_jumps(metric: str, order: int) -> None:
    grid = make_grid("karras", 6, 0.02, 10.0, EDM())
    states, predictions = follow(make_solver("ipndm"), batch(), grid)  # type: ignore[arg-type]
    found = costs(states, predictions, grid.sigma, metric)  # type: ignore[arg-type]
    for i, j in itertools.product(range(7), repeat=2):
        if j <= i:
            assert found[i, j] == math.inf
            continue
        slope = (states[i] - predictions[i]) / grid.nodes[i]
        jump = states[i] + (grid.nodes[j] - grid.nodes[i]) * slope
        expected = (jump - states[j]).abs().pow(order).sum(1).pow(1 / order).mean()
        assert float(found[i, j]) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize("coeff", [0.8, 1.0, 1.15])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
def test_the_search_is_the_best_of_all(steps: int, coeff: float) -> None:
    table = torch.rand(9, 9, generator=torch.Generator().manual_seed(steps), dtype=torch.float64) - 0.1
    table = table.masked_fill(torch.ones(9, 9).tril().bool(), math.inf)

    def total(path: tuple[int, ...]) -> float:
        return sum(coeff**k * float(table[i, j]) for k, (i, j) in enumerate(itertools.pairwise(path)))

    paths = [(0, *inner, 8) for inner in itertools.combinations(range(1, 8), steps - 1)]
    assert tuple(cheapest(table, steps, coeff)) == min(paths, key=total)


def test_it_is_better_than_the_grid_it_is_chosen_from(task: Callable, error: Callable) -> None:
    for nfe in (3, 5):
        fit = task()
        method = GITS(solver="ddim", metric="l2", images=64)
        artifact = method.fit(fit, nfe)
        assert fit.ledger.network_rows == 64 * 60
        assert error(method, nfe, artifact) < error(DDIM(), nfe, {})


def test_budgets_of_other_solvers(task: Callable) -> None:
    assert len(GITS(solver="heun", images=4).fit(task(), 5)["sigma"]) == 4
    assert len(GITS(solver="ddim[afs=true]", images=4).fit(task(), 1)["sigma"]) == 3


def test_what_cannot_be_fitted(task: Callable) -> None:
    with pytest.raises(Unsupported, match="5 steps cannot be chosen from teacher_steps=4"):
        GITS(teacher_steps=4).fit(task(), 5)
    assert GITS(teacher_steps=4, images=2, teacher_grid="logsnr").fit(task(), 4)["sigma"].tolist() == pytest.approx(
        task().grid("logsnr", 4).nodes
    )
    with pytest.raises(Unsupported, match="heun does not make one evaluation per step"):
        GITS(teacher="heun").fit(task(), 3)
    with pytest.raises(Unsupported, match="no level is left"):
        GITS(solver="ipndm[afs=true]", teacher_steps=3, images=2, metric="l2", coeff=1e-9).fit(task(), 2)


def test_contract_with_artifacts(task: Callable) -> None:
    @cache
    def artifact(method: Method, nfe: int) -> Mapping[str, Tensor]:
        return method.fit(task(), nfe)

    outcomes = run_checks("gits[teacher_steps=20,images=4]", Stage(Mixture(), artifact))
    assert not [outcome.message for outcome in outcomes if outcome.status == "failed"]
