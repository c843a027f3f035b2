"""The corrected prediction, step by step, and its two limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench.api import Unsupported
from bench.registry import create
from methods.combined.distillation_pp import DistillationPP

Make = Callable[..., Any]


def test_values_by_hand(make: Make, draws: Callable[[], Any]) -> None:
    """Progressive's DDIM steps; the first prediction is 0.4 x, drawn by 0.3 to 0.9 of itself renoised to s."""
    problem, log = make()
    found = DistillationPP(student="progressive", weight=0.3).sample(problem, 3)
    assert log.names == "sts"
    s = math.sqrt(80.0 * 0.002)
    assert log.calls[1][1] == pytest.approx(s)
    sigma = problem.grid("karras", 2).nodes
    x0 = 0.4 * problem.x
    x0 = 0.7 * x0 + 0.3 * 0.9 * (x0 + s * draws().normal())
    x = x0 + sigma[1] / sigma[0] * (problem.x - x0)
    torch.testing.assert_close(found, 0.4 * x)


@pytest.mark.parametrize(("depth", "level"), [(0.0, 80.0), (1.0, 0.002), (0.25, 80**0.75 * 0.002**0.25)])
def test_level(depth: float, level: float) -> None:
    assert DistillationPP(depth=depth).level(80.0, 0.002) == pytest.approx(level)


def test_two_guided_steps(make: Make) -> None:
    problem, log = make()
    DistillationPP(student="progressive", guided=2).sample(problem, 6)
    assert log.names == "ststss"


def test_weight_zero_is_the_student(make: Make) -> None:
    plain = create("method", "progressive").sample(make()[0], 2)
    torch.testing.assert_close(DistillationPP(student="progressive", weight=0.0).sample(make()[0], 3), plain)
    assert torch.equal(DistillationPP(student="progressive", guided=0).sample(make()[0], 2), plain)


def test_weight_one_is_the_teacher_alone(make: Make, draws: Callable[[], Any]) -> None:
    problem, _ = make()
    found = DistillationPP(student="progressive", weight=1.0, depth=1.0).sample(problem, 2)
    torch.testing.assert_close(found, 0.9 * (0.4 * problem.x + 0.002 * draws().normal()))


@pytest.mark.parametrize(("guided", "nfe"), [(1, 1), (2, 3), (3, 5)])
def test_every_guided_step_takes_two_evaluations(make: Make, guided: int, nfe: int) -> None:
    with pytest.raises(Unsupported, match=f"take {2 * guided} evaluations"):
        DistillationPP(guided=guided).sample(make()[0], nfe)
    assert DistillationPP(guided=guided).student_steps(nfe + 1) == nfe + 1 - guided


def test_it_runs_on_the_students_artifact() -> None:
    assert DistillationPP().borrows(5) == ("consistency", 4)
