"""Who denoises when, and that both ends are the two models alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench.api import Unsupported
from bench.registry import create
from methods.combined.diversity_distillation import DiversityDistillation

Make = Callable[..., Any]


@pytest.mark.parametrize("student", ["consistency", "progressive"])
def test_the_teacher_is_first(make: Make, student: str) -> None:
    problem, log = make()
    DiversityDistillation(student=student, base_steps=1).sample(problem, 4)
    assert log.names == "tsss"
    grid = problem.grid(create("method", student).grid, 4)
    assert [sigma for _, sigma in log.calls] == pytest.approx(grid.nodes[:-1])


def test_values_by_hand(make: Make) -> None:
    """Along progressive's own levels, every step is DDIM's with the gain of whoever denoises."""
    problem, _ = make()
    found = DiversityDistillation(student="progressive", base_steps=2).sample(problem, 4)
    x = problem.x
    for (sigma_s, sigma_t), gain in zip(problem.grid("karras", 4).steps(), (0.9, 0.9, 0.4, 0.4), strict=True):
        x = gain * x + sigma_t / sigma_s * (x - gain * x)
    torch.testing.assert_close(found, x)


@pytest.mark.parametrize("student", ["consistency", "progressive"])
def test_no_base_step_is_the_student(make: Make, student: str) -> None:
    mixed = DiversityDistillation(student=student, base_steps=0).sample(make()[0], 2)
    assert torch.equal(mixed, create("method", student).sample(make()[0], 2))


def test_the_student_must_have_a_step(make: Make) -> None:
    for base_steps, nfe in ((1, 1), (3, 2), (2, 2)):
        with pytest.raises(Unsupported, match="none for the student"):
            DiversityDistillation(base_steps=base_steps).sample(make()[0], nfe)
    with pytest.raises(Unsupported, match="no fitted consistency for 2 steps"):
        DiversityDistillation().sample(make(artifact=False)[0], 2)


def test_it_runs_on_the_students_artifact() -> None:
    method = DiversityDistillation(student="progressive")
    assert method.borrows(4) == ("progressive", 4)
    assert method.artifact_name(4)
    with pytest.raises(Unsupported):
        method.borrows(1)
