"""The parts of the search against their definitions, and a search that finds what is known to be best."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from random import Random

import pytest
import torch
from torch import Tensor

from bench.api import Method, Unsupported
from bench.contract import Stage, run_checks
from bench.fit import Task
from bench.probe import grid_of, same_noise
from bench.process import EDM
from bench.sampling import make_solver
from bench.suites.mixture import Mixture
from methods.calibrated.autodiffusion import AutoDiffusion, cross, energy, mutate


def test_mutation_replaces_each_level_with_its_chance_by_a_free_one() -> None:
    source, parent = Random(0), (2, 5, 9)
    made = [mutate(parent, 12, 0.25, source) for _ in range(4000)]
    assert all(list(child) == sorted(set(child)) and len(child) == 3 for child in made)
    assert all(1 <= level <= 11 for child in made for level in child)
    unchanged = sum(child == parent for child in made) / 4000
    assert unchanged == pytest.approx(0.75**3, abs=0.03)
    kept = Counter(level for child in made for level in child if level in parent)
    assert all(kept[level] / 4000 == pytest.approx(0.75, abs=0.05) for level in parent)
    new = {level for child in made for level in child}
    assert new == set(range(1, 12))
    assert mutate(parent, 12, 0.0, source) == parent
    assert mutate((1, 2, 3), 4, 1.0, source) == (1, 2, 3)  # nothing is free


def test_crossover_takes_each_level_from_one_of_the_parents() -> None:
    source = Random(0)
    made = Counter(cross((1, 4, 8), (2, 5, 9), source) for _ in range(8000))
    assert set(made) == set(itertools.product((1, 2), (4, 5), (8, 9)))
    assert all(count / 8000 == pytest.approx(1 / 8, abs=0.02) for count in made.values())
    assert min(len(cross((1, 4), (4, 6), source)) for _ in range(50)) == 1  # 4 and 4


def test_energy_distance_is_its_definition() -> None:
    x = torch.tensor([[0.0, 0], [3, 4]], dtype=torch.float64)
    y = torch.tensor([[0.0, 0]], dtype=torch.float64)
    assert energy(x, y) == pytest.approx(2 * 2.5 - 2.5 - 0)
    assert energy(x, x) == pytest.approx(0, abs=1e-12)


def test_energy_distance_of_a_shift() -> None:
    # N(0, 1) against N(m, 1): 2 E|m + sqrt(2) z| - 2 sqrt(2) E|z| with E|z| = sqrt(2 / pi)
    z = torch.randn(2, 3000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    m = 1.0
    folded = 2 / math.sqrt(math.pi) * math.exp(-(m**2) / 4) + m * math.erf(m / 2)
    assert energy(z[0], z[1] + m) == pytest.approx(2 * folded - 4 / math.sqrt(math.pi), abs=0.05)


def recorded(method: AutoDiffusion, best: Callable[[tuple[float, ...]], float], steps: int) -> tuple[Tensor, list]:
    """A search whose objective is a known function of the levels, and all schedules it tried, in order."""
    tried: list[tuple[float, ...]] = []

    class Known(AutoDiffusion):
        def _objective(self, task: object, grid: object) -> Callable[[Tensor], float]:
            def badness(sigma: Tensor) -> float:
                tried.append(tuple(sigma.tolist()))
                return best(tried[-1])

            return badness

    task = Task(Mixture(), torch.Generator().manual_seed(1), None)  # type: ignore[arg-type]
    return Known(**method.model_dump()).fit(task, steps)["sigma"], tried


def test_the_search_recovers_a_hidden_optimum() -> None:
    target = [40.0, 5.0, 0.5]

    def distance(sigma: tuple[float, ...]) -> float:
        return sum(abs(math.log(a / b)) for a, b in zip(sigma[1:-1], target, strict=True))

    few = AutoDiffusion(solver="ddim", teacher_steps=60, population=40, generations=12)
    found, tried = recorded(few, distance, 4)
    random = min(distance(sigma) for sigma in tried[:40])
    assert distance(tuple(found.tolist())) == min(map(distance, tried))
    assert distance(tuple(found.tolist())) < 0.5 * random
    assert len(set(tried)) == len(tried) == 40 * 12  # nothing is judged twice
    assert all(sigma[0] == 80 and sigma[-1] == 0 and list(sigma) == sorted(sigma, reverse=True) for sigma in tried)


def test_the_first_generation_holds_the_uniform_schedule_random_ones_and_its_mutations() -> None:
    method = AutoDiffusion(solver="ddim", teacher_steps=60, population=40, generations=1)
    _, tried = recorded(method, lambda sigma: 0.0, 6)
    levels = Task(Mixture(), torch.Generator(), None).grid("karras", 60).nodes  # type: ignore[arg-type]
    uniform = {levels[k] for k in range(0, 61, 10)}
    assert set(tried[0]) == uniform
    shared = [len(uniform & set(sigma)) - 2 for sigma in tried]
    assert sum(shared[1:21]) / 20 < 2  # random: 5 * 5 / 59 of 5 on average
    assert sum(shared[21:]) / len(shared[21:]) > 3  # 4.5, less those that were there
    assert len(tried) == 40


def test_later_generations_descend_from_the_best() -> None:
    method = AutoDiffusion(
        solver="ddim", teacher_steps=60, population=30, generations=2, mutations=10, crossovers=10, parents=2
    )
    _, tried = recorded(method, lambda sigma: -sigma[1], 6)
    assert len(tried) == 60
    parents = sorted(tried[:30], key=lambda sigma: -sigma[1])[:2]
    pool = set(parents[0]) | set(parents[1])
    kept = [max(len(set(sigma) & set(parent)) - 2 for parent in parents) for sigma in tried[30:]]
    assert sum(kept[:10]) / 10 > 2.5  # mutations keep 3/4 of 5
    assert sum(set(sigma) <= pool for sigma in tried[40:50]) >= 5
    assert sum(kept[50 - 30 :]) / 10 < 2


def test_a_small_space_is_searched_whole_and_then_it_stops() -> None:
    method = AutoDiffusion(solver="ddim", teacher_steps=6, population=20, generations=20)
    found, tried = recorded(method, lambda sigma: abs(sigma[1] - 3.0), 2)
    assert len(tried) == 5
    assert abs(float(found[1]) - 3.0) == min(abs(sigma[1] - 3.0) for sigma in tried)
    assert recorded(method, lambda sigma: 0.0, 1)[1] == [(80.0, 0.0)]
    assert len(recorded(method, lambda sigma: 0.0, 6)[1]) == 1


SMALL = {"images": 16, "population": 10, "generations": 2, "teacher_steps": 40}


@pytest.mark.parametrize("objective", ["paired", "energy"])
def test_it_is_better_than_the_uniform_schedule(task: Callable, error: Callable, objective: str) -> None:
    fitting = task()
    method = AutoDiffusion(solver="ddim", objective=objective, references=200, **SMALL)
    artifact = method.fit(fitting, 3)
    uniform = task().grid("karras", 40).sigma[[0, 13, 27, 40]]
    assert error(method, 3, artifact) < error(method, 3, {"sigma": uniform})
    assert fitting.images == (200 if objective == "energy" else 0)
    teacher = 16 * 40 if objective == "paired" else 0
    assert fitting.ledger.network_rows == 16 * 3 * 20 + teacher


def test_the_objectives_are_what_they_say(task: Callable) -> None:
    fit, again = task(), task()
    grid = fit.grid("karras", 40)
    sigma = grid.sigma[[0, 15, 30, 40]]
    paired = AutoDiffusion(solver="ipndm", teacher="heun", **SMALL)._objective(fit, grid)(sigma)
    batch = again.noise(16)
    ends = [
        make_solver(spec).integrate(batch.denoise, batch.x, levels, same_noise(batch.x)).double()
        for spec, levels in (("ipndm", grid_of(sigma.tolist(), EDM())), ("heun", grid))
    ]
    assert paired == pytest.approx(float((ends[0] - ends[1]).square().mean().sqrt()), rel=1e-9)
    fit, again = task(), task()
    found = AutoDiffusion(solver="ipndm", objective="energy", references=50, **SMALL)._objective(fit, grid)(sigma)
    again.noise(16)
    assert found == pytest.approx(energy(ends[0], again.data(50).x.double()), rel=1e-9)


def test_the_same_seed_finds_the_same(task: Callable) -> None:
    one, again = (AutoDiffusion(**SMALL).fit(task(seed=3), 4)["sigma"] for _ in range(2))
    assert torch.equal(one, again)


def test_budgets_of_other_solvers_and_what_is_refused(task: Callable) -> None:
    assert len(AutoDiffusion(solver="heun", **SMALL).fit(task(), 5)["sigma"]) == 4
    assert len(AutoDiffusion(solver="ddim", **{**SMALL, "teacher_steps": 3}).fit(task(), 3)["sigma"]) == 4
    with pytest.raises(Unsupported, match="4 steps cannot be chosen from teacher_steps=3"):
        AutoDiffusion(teacher_steps=3).fit(task(), 4)


def test_contract_with_artifacts(task: Callable) -> None:
    @cache
    def artifact(method: Method, nfe: int) -> Mapping[str, Tensor]:
        return method.fit(task(), nfe)

    spec = "autodiffusion[images=4,population=2,generations=1,teacher_steps=20]"
    outcomes = run_checks(spec, Stage(Mixture(), artifact))
    assert not [outcome.message for outcome in outcomes if outcome.status == "failed"]
