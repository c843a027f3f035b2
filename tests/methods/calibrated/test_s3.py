"""The evolution's moves, what it starts from, and that the best one is what comes out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench.api import Unsupported
from bench.grids import make_grid
from bench.nfe import Ledger
from bench.process import EDM
from bench.registry import create
from bench.sampling import Teacher
from bench.suites.mixture import Mixture
from bench.unified import Decision
from methods.calibrated.s3 import KNOWN, S3, Genome, cross, known, mutate


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_known_schedules_are_karras_grids(steps: int) -> None:
    genome = known(Decision(order=2, noise=True), steps)
    torch.testing.assert_close(genome.levels(80.0, 0.002), make_grid("karras", steps, 0.002, 80.0, EDM()).sigma)
    assert genome.decisions == [Decision(order=2, noise=True)] * steps


def test_a_decision_survives_being_written_down() -> None:
    for decision in (*KNOWN, Decision(3, True, True), Decision(1, True, False)):
        assert known(decision, 2).decisions == [decision] * 2


def test_mutants_are_schedules_whatever_the_seed() -> None:
    genome = known(Decision(), 6)
    for seed in range(200):
        genome = mutate(genome, source(seed), 0.5)
        levels = genome.levels(80.0, 0.002)
        assert bool((levels[1:] < levels[:-1]).all()) and float(levels[0]) == 80.0 and float(levels[-1]) == 0.0
        assert set(genome.genes[:, 0].tolist()) <= {1, 2, 3} and set(genome.genes[:, 1:].flatten().tolist()) <= {0, 1}


def test_the_rate_is_that_of_changes() -> None:
    """Out of 4,000 genes drawn with probability 0.3 from two (or three) values, each of which may be the old one."""
    genome = known(Decision(order=2), 4000)
    child = mutate(genome, source(), 0.3)
    changed = (child.genes != genome.genes).double().mean(0)
    torch.testing.assert_close(changed, torch.tensor([0.2, 0.15, 0.15], dtype=torch.float64), atol=0.02, rtol=0)
    assert float((child.u != genome.u).double().mean()) == pytest.approx(0.6, abs=0.03)
    still = mutate(genome, source(), 0.0)
    assert torch.equal(still.u, genome.u) and torch.equal(still.genes, genome.genes)


def test_a_child_is_between_its_parents() -> None:
    one, other = known(Decision(1), 2000), mutate(known(Decision(3, True, True), 2000), source(1), 0.5)
    child = cross(one, other, source())
    torch.testing.assert_close(child.u, (one.u + other.u) / 2)
    from_one = (child.genes == one.genes).all(1)
    assert bool((from_one | (child.genes == other.genes).all(1)).all())  # a step's decision is taken whole
    assert float(from_one.double().mean()) == pytest.approx(0.5, abs=0.05)


def test_the_search_is_never_worse_than_what_it_starts_from(task: Callable, error: Callable[..., float]) -> None:
    small = S3(population=8, generations=3, images=64)
    found = error(small, 4, small.fit(task(seed=3), 4))
    starts = [error(small, 4, {"sigma": known(d, 4).levels(80.0, 0.002), "decision": known(d, 4).genes}) for d in KNOWN]
    assert found < min(starts)  # on noise it has not seen, which is more than what is promised


def test_without_generations_it_is_the_best_known_solver(task: Callable) -> None:
    """On a Gaussian the known solvers differ by much, so which one is best does not hang on the images."""
    artifact = S3(population=6, generations=0, images=256).fit(task(preset="gaussian"), 5)
    suite = Mixture(preset="gaussian")
    teacher = Teacher.load(suite, dtype=torch.float64)
    exact = suite.solve(teacher.denoiser(range(64), Ledger()), teacher.initial(0, range(64)))
    errors = []
    for decision in KNOWN:
        genome = known(decision, 5)
        tensors = {"sigma": genome.levels(80.0, 0.002), "decision": genome.genes}
        samples, _ = teacher.generate(S3(), 5, 0, range(64), tensors)
        errors.append(float((samples - exact).square().mean()))
    best = KNOWN[errors.index(min(errors))]
    assert Genome(artifact["sigma"][1:-1], artifact["decision"]).decisions == [best] * 5


def test_samples_are_the_solvers_own() -> None:
    teacher = Teacher.load(Mixture(), dtype=torch.float64)
    genome = known(Decision(order=2), 5)
    tensors = {"sigma": genome.levels(80.0, 0.002), "decision": genome.genes}
    found, _ = teacher.generate(S3(), 5, 0, range(6), tensors)
    plain, _ = teacher.generate(create("method", "dpm_solver_pp[solver_type=heun]"), 5, 0, range(6))
    torch.testing.assert_close(found, plain)


def test_without_a_search_it_says_so() -> None:
    with pytest.raises(Unsupported, match="--nfe 3"):
        Teacher.load(Mixture()).generate(S3(), 3, 0, range(2))


def test_the_same_seed_finds_the_same_schedule(task: Callable) -> None:
    small = S3(population=6, generations=2, images=4, teacher_steps=16)
    one, other = (small.fit(task(seed=5), 3) for _ in range(2))
    assert torch.equal(one["sigma"], other["sigma"]) and torch.equal(one["decision"], other["decision"])
