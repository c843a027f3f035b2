"""Who refines what, in closed form, and that the decision is each sample's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.grids import make_grid
from methods.combined.hand_over import HandOver

Make = Callable[..., Any]


def refined(x0: Tensor, noise: Tensor, steps: int, problem: Any) -> Tensor:
    x = x0 + 0.5 * noise
    for sigma_s, sigma_t in make_grid("karras", steps, 0.002, 0.5, problem.process).steps():
        x = 0.9 * x + sigma_t / sigma_s * 0.1 * x
    return x


@pytest.mark.parametrize(("nfe", "order", "steps"), [(2, "st", 1), (3, "sst", 1), (4, "sstt", 2), (6, "sssstt", 2)])
def test_everything_is_refined_at_threshold_zero(
    make: Make, draws: Callable[[], Any], nfe: int, order: str, steps: int
) -> None:
    problem, log = make()
    found = HandOver(student="reflow", threshold=0.0).sample(problem, nfe)
    assert log.names == order
    x0 = problem.x
    for sigma_s, sigma_t in problem.grid("flow_uniform", nfe - steps).steps():
        x0 = 0.4 * x0 + sigma_t / sigma_s * 0.6 * x0
    torch.testing.assert_close(found, refined(x0, draws().normal(), steps, problem))


def test_nothing_is_refined_where_the_teacher_agrees(make: Make) -> None:
    problem, _ = make()
    found = HandOver(student="reflow", threshold=1e9).sample(problem, 2)
    torch.testing.assert_close(found, 0.4 * problem.x)


def test_the_decision_is_per_sample_and_at_the_threshold(make: Make, draws: Callable[[], Any]) -> None:
    problem, _ = make()
    x0, noise = 0.4 * problem.x, draws().normal()
    apart = (0.9 * (x0 + 0.5 * noise) - x0).square().mean(1).sqrt()
    middle = float(apart.sort().values[1])
    found = HandOver(student="reflow", threshold=middle * (1 - 1e-9)).sample(problem, 2)
    whole = refined(x0, noise, 1, problem)
    for i in range(3):
        torch.testing.assert_close(found[i], whole[i] if apart[i] >= middle else x0[i])


def test_one_evaluation_is_not_enough(make: Make) -> None:
    with pytest.raises(Unsupported, match="nfe 2 or more"):
        HandOver().sample(make()[0], 1)
    assert HandOver(teacher_steps=3).borrows(8) == ("consistency", 5)


@pytest.mark.parametrize("sigma", [0.002, 100.0])
def test_the_level_must_be_one_of_the_suites(make: Make, sigma: float) -> None:
    with pytest.raises(Unsupported, match="is not between"):
        HandOver(sigma=sigma).sample(make()[0], 2)
    problem = replace(make()[0], sigma_max=100.0)
    if sigma == 100.0:
        HandOver(sigma=sigma).sample(problem, 2)
