"""Least squares where the answer is known, the limits, and what it gains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.nfe import Ledger
from bench.probe import Tableau
from bench.registry import create
from bench.sampling import Teacher
from bench.suites.mixture import Mixture
from methods.calibrated.d_ode import DODE, fit_scales


def linear(gain: Callable[[float], float]) -> Callable[[Tensor, float | Tensor], Tensor]:
    return lambda x, sigma: gain(float(sigma)) * x


def test_one_number_on_a_line_is_exact(task: Callable) -> None:
    """D = x / (1 + sigma^2): every difference of outputs is a multiple of x, so each target is met, by hand."""
    gain = lambda sigma: 1 / (1 + sigma**2)  # noqa: E731
    solver = create("method", "ddim")
    grid = task().grid("user[sigmas=4/2/1]", 2)
    x = torch.tensor([[3.0], [-1.0]], dtype=torch.float64)
    targets = [2.0 * x, 0.3 * x]
    d0 = gain(4.0)
    first = d0 + 0.5 * (1 - d0)  # x_1 = first x; the first output has no predecessor, whatever the target
    d1 = gain(2.0) * first
    wanted = (0.3 - 0.5 * first) / 0.5  # O_1 such that x_2 = O_1 + (x_1 - O_1) / 2 = 0.3 x
    found = fit_scales(Tableau.probe(solver, grid), linear(gain), x, targets)
    assert found == pytest.approx([0.0, (wanted - d1) / (d1 - d0)])


def test_least_squares_is_the_projection(task: Callable) -> None:
    """The residual after the last step is orthogonal to what its number multiplies."""
    suite, solver = Mixture(), create("method", "ipndm[grid=karras]")
    grid = task().grid("karras", 4)
    tableau = Tableau.probe(solver, grid)
    x = 80 * torch.randn(20, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    targets = [torch.randn(20, 2, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in range(4)]
    scales = fit_scales(tableau, suite.gmm.denoise, x, targets)

    def run(last: float) -> Tensor:
        given, raw = iter([*scales[:3], last]), []

        def distilled(x: Tensor, sigma: float | Tensor) -> Tensor:
            raw.append(suite.gmm.denoise(x, sigma))
            scale = next(given)
            return raw[-1] + scale * (raw[-1] - raw[-2]) if len(raw) > 1 else raw[-1]

        return tableau(distilled, x)

    state = run(scales[3])
    slope = run(scales[3] + 1) - state
    assert float((slope * (targets[3] - state)).sum()) == pytest.approx(0, abs=1e-9)
    assert float(slope.abs().max()) > 1e-3


@pytest.mark.parametrize("spec", ["ddim", "dpm_solver_pp", "ipndm"])
def test_a_teacher_that_is_no_finer_leaves_the_solver_alone(task: Callable, spec: str) -> None:
    method = DODE(solver=spec, teacher=spec, scale=1, images=8)
    assert method.fit(task(), 4)["scale"].tolist() == pytest.approx([0.0] * 4, abs=1e-4)  # states in float32


def test_zero_numbers_are_the_solver_itself() -> None:
    teacher = Teacher.load(Mixture(), dtype=torch.float64)
    artifact = {"scale": torch.zeros(5, dtype=torch.float64)}
    plain, _ = teacher.generate(create("method", "heun"), 5, 0, range(5))
    mixed, _ = teacher.generate(DODE(solver="heun"), 5, 0, range(5), artifact)
    assert torch.equal(mixed, plain)


def test_sampling_extrapolates_from_the_output_before() -> None:
    """Three steps of DDIM on a line, with numbers that are not fitted, by hand."""
    teacher = Teacher.load(Mixture(preset="gaussian"), dtype=torch.float64)
    problem = teacher.problem(0, range(2), Ledger(), {"scale": torch.tensor([9.0, 0.5, -0.25], dtype=torch.float64)})
    problem = replace(problem, denoise=linear(lambda sigma: 1 / (1 + sigma)))
    found = DODE().sample(problem, 3)
    x, outputs = problem.x, []
    for i, (sigma_s, sigma_t) in enumerate(problem.grid("karras", 3).steps()):
        outputs.append(x / (1 + sigma_s))
        scale = (0.0, 0.5, -0.25)[i]
        o = outputs[i] + scale * (outputs[i] - outputs[max(i - 1, 0)])
        x = o + sigma_t / sigma_s * (x - o)
    torch.testing.assert_close(found, x)


@pytest.mark.parametrize("spec", ["ddim", "heun"])
def test_it_comes_nearer_to_the_solution(task: Callable, error: Callable[..., float], spec: str) -> None:
    method = DODE(solver=spec, teacher="dpm_solver_pp", images=64)
    fitted = error(method, 5, method.fit(task(), 5))
    plain = error(method, 5, {"scale": torch.zeros(5, dtype=torch.float64)})
    assert fitted < (0.7 if spec == "ddim" else 1.0) * plain


def test_what_cannot_be_distilled_is_refused(task: Callable) -> None:
    with pytest.raises(Unsupported, match="one evaluation per step"):
        DODE(teacher="heun", images=2).fit(task(), 3)
    with pytest.raises(Unsupported, match="not a linear function"):
        DODE(solver="ddim[eta=1.0]", images=2).fit(task(), 3)
    with pytest.raises(Unsupported, match="--nfe 3"):
        Teacher.load(Mixture()).generate(DODE(), 3, 0, range(2))
