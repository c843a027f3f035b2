"""Key steps, and the prior noise on its way through a solver."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from bench.api import Problem, Unsupported
from bench.grids import Grid
from bench.process import EDM, VPLinear
from bench.registry import create
from bench.sampling import Teacher
from bench.suites.digits import Digits
from methods.caching.faster_diffusion import FasterDiffusion


def keys(nfe: int) -> list[int]:
    return [step for step, part in enumerate(FasterDiffusion().parts(nfe)) if part == "full"]


def test_key_steps() -> None:
    assert keys(50) == [0, 1, 2, 3, 5, 10, 15, 25, 35]  # the authors' own list
    assert keys(10) == [0, 1, 2, 3, 5, 7]
    assert keys(1) == [0]
    assert set(FasterDiffusion().parts(10)) == {"full", "encoder"}


def test_without_injection_it_is_the_solver_on_the_parts(make: Callable[..., tuple[Problem, object]]) -> None:
    problem, log = make()
    found = FasterDiffusion(injection=0.0).sample(problem, 8)
    gains = [0.9 if part == "full" else 0.7 for part in FasterDiffusion().parts(8)]
    x = problem.x
    for (sigma_s, sigma_t), gain in zip(problem.grid("karras", 8).steps(), gains, strict=True):
        x = gain * x + sigma_t / sigma_s * (x - gain * x)
    torch.testing.assert_close(found, x)
    assert log.parts == FasterDiffusion().parts(8)  # type: ignore[attr-defined]


@pytest.mark.parametrize("end", ["zero", "sigma_min"])
def test_injection_is_the_authors_loop(make: Callable[..., tuple[Problem, object]], end: str) -> None:
    """``z += injection z_T`` before every late step of DDIM, written out in the VP coordinates z."""
    problem, _ = make()
    method = FasterDiffusion(solver=f"ddim[grid=logsnr[end={end}]]", injection=0.05)
    found = method.sample(problem, 10)
    grid, prior = problem.grid(f"logsnr[end={end}]", 10), problem.x / 80.0
    z, late = problem.x / math.hypot(1, 80.0), 0
    for part, (sigma_s, sigma_t) in zip(method.parts(10), grid.steps(), strict=True):
        if float(VPLinear().time(torch.tensor(sigma_s, dtype=torch.float64))) < 0.5:
            z, late = z + 0.05 * prior, late + 1
        x = z * math.hypot(1, sigma_s)
        x0 = x * (0.9 if part == "full" else 0.7)
        z = (x0 + sigma_t / sigma_s * (x - x0)) / math.hypot(1, sigma_t)
    torch.testing.assert_close(found, z * math.hypot(1, grid.nodes[-1]))
    assert 0 < late < 10


def test_injection_starts_late() -> None:
    grid = Grid(torch.tensor([80.0, 20.0, 1.0, 0.5, 0.0], dtype=torch.float64), EDM())
    b = FasterDiffusion(injection=0.1).injected(grid)
    first = 0.1 * math.hypot(1, 1.0)
    assert b == pytest.approx([0.0, 0.0, first, first * 0.5 + 0.1 * math.hypot(1, 0.5), 0.0])
    assert FasterDiffusion(injection=0.1, until=0.0).injected(grid) == [0.0] * 5


def test_injection_needs_one_evaluation_per_step(make: Callable[..., tuple[Problem, object]]) -> None:
    problem, _ = make()
    with pytest.raises(Unsupported, match="one evaluation per step"):
        FasterDiffusion(solver="heun").sample(problem, 3)
    FasterDiffusion(solver="heun", injection=0.0).sample(problem, 3)
    FasterDiffusion(solver="dpm_solver_pp").sample(make()[0], 3)


def test_all_key_steps_are_the_baseline_on_a_real_network() -> None:
    teacher = Teacher.load(Digits())
    plain, _ = teacher.generate(create("method", "ddim"), 2, 0, range(4))
    same, _ = teacher.generate(FasterDiffusion(injection=0.0), 2, 0, range(4))
    assert keys(2) == [0, 1]
    assert torch.equal(same, plain)
