"""Adaptive DPM-Solver: local orders, the first attempts by hand, the budget, and k-diffusion state by state."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor

from bench.api import Problem, Unsupported
from bench.errors import UsageError
from bench.nfe import Ledger
from bench.process import EDM
from bench.registry import create
from bench.rng import SampleNoise
from methods.solvers.dpm_solver_adaptive import DPMSolverAdaptive, solve

HIGH, LOW = 10.0, 0.02


class Calls:
    """A counted denoiser that notes each sample's levels."""

    def __init__(self, denoise: Callable[..., Tensor]) -> None:
        self.denoise = denoise
        self.levels: list[Tensor] = []

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        self.levels.append(torch.as_tensor(sigma).double().expand(len(x)).clone())
        return self.denoise(x, sigma)


def problem(denoise: Callable[..., Tensor], x: Tensor, budget: int | None = None) -> Problem:
    def none(_: object) -> object:
        raise Unsupported("not here")

    noise = SampleNoise(("test", 0, "method"), range(len(x)), x.shape[1:], x.dtype)
    counted = Ledger(budget=budget).denoiser(denoise)
    return Problem(counted, x, noise, EDM(), LOW, HIGH, {}, none, none)


def gaussian(x: Tensor, sigma: float | Tensor) -> Tensor:
    level = torch.as_tensor(sigma, dtype=x.dtype).view(-1, *[1] * (x.ndim - 1))
    return 0.3 + 0.49 / (0.49 + level**2) * (x - 0.3)


def exact(x: Tensor, high: float, low: float) -> Tensor:
    return 0.3 + math.hypot(low, 0.7) / math.hypot(high, 0.7) * (x - 0.3)


@pytest.mark.parametrize(("order", "r"), [(1, 0.5), (2, 0.5), (2, 1 / 3), (3, 1 / 3)])
def test_local_order(order: int, r: float) -> None:
    x = torch.linspace(-3, 3, 6, dtype=torch.float64).view(2, 3)
    lam = torch.tensor([-1.0, 0.2], dtype=torch.float64)
    errors = []
    for h in (0.08, 0.04):
        low, high = solve(gaussian, x, lam, torch.full((2,), h, dtype=torch.float64), (order, r))
        truth = torch.stack(
            [exact(row, math.exp(-at), math.exp(-at - h)) for row, at in zip(x, lam.tolist(), strict=True)]
        )
        errors.append([float((end - truth).abs().max()) for end in (low, high)])
    slopes = [math.log2(coarse / fine) for coarse, fine in zip(*errors, strict=True)]
    assert slopes == pytest.approx([order, order + 1], abs=0.15)


def test_a_step_of_no_length_stays() -> None:
    x, zero = torch.ones(2, 3, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for order in (1, 2, 3):
        for end in solve(gaussian, x, zero, zero, (order, 1 / 3)):
            torch.testing.assert_close(end, x, rtol=0, atol=0)


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("nfe", range(1, 9))
def test_the_budget_is_kept_for_every_sample(denoise, noise, order: int, nfe: int) -> None:
    calls = Calls(denoise)
    DPMSolverAdaptive(order=order).sample(problem(calls, HIGH * noise()), nfe)
    assert len(calls.levels) == nfe
    assert all(
        bool((level <= HIGH * (1 + 1e-12)).all()) and bool((level >= LOW * (1 - 1e-12)).all()) for level in calls.levels
    )


def test_leftovers_make_one_step_of_lower_order(denoise, noise) -> None:
    x, h = HIGH * noise(), 0.3
    t, m = HIGH * math.exp(-h), HIGH * math.exp(-h / 3)
    d = (x - denoise(x, HIGH)) / HIGH
    euler = x + (t - HIGH) * d
    for order in (2, 3):
        method = DPMSolverAdaptive(order=order, h_init=h)
        torch.testing.assert_close(method.sample(problem(denoise, x), 1), denoise(x, HIGH), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(method.sample(problem(denoise, x), 2), denoise(euler, t), rtol=1e-10, atol=1e-10)
    u = x + (m - HIGH) * d
    second = x + (t - HIGH) * (d + 1.5 * ((u - denoise(u, m)) / m - d))
    torch.testing.assert_close(method.sample(problem(denoise, x), 3), denoise(second, t), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rest", [0, 1])
def test_steps_are_cut_where_the_range_ends(denoise, noise, rest: int) -> None:
    calls = Calls(denoise)
    method = DPMSolverAdaptive(h_init=100.0, rtol=1e9, theta=0.9)
    method.sample(problem(calls, HIGH * noise()), 3 + rest)
    torch.testing.assert_close(calls.levels[1], torch.full((8,), math.sqrt(HIGH * LOW), dtype=torch.float64))
    for level in calls.levels[2:]:
        torch.testing.assert_close(level, torch.full((8,), LOW, dtype=torch.float64))


@pytest.mark.parametrize("variant", ["dpm_solver", "k_diffusion"])
@pytest.mark.parametrize("theta", [0.9, 0.5])
def test_first_attempts_by_hand(variant: str, theta: float) -> None:
    """One pixel that accepts and one that refuses, DPM-Solver-12."""
    x = torch.tensor([[0.31], [9.0]], dtype=torch.float64)
    h, atol, rtol = 1.2, 0.01, 0.003
    t, m = HIGH * math.exp(-h), HIGH * math.exp(-h / 2)
    low = x + (t - HIGH) * (x - gaussian(x, HIGH)) / HIGH
    u = x + (m - HIGH) * (x - gaussian(x, HIGH)) / HIGH
    high = x + (t - HIGH) * (u - gaussian(u, m)) / m
    scale = (1.0, 1.0) if variant == "k_diffusion" else ((1 + HIGH**2) ** -0.5, (1 + t**2) ** -0.5)
    delta = torch.maximum(rtol * torch.maximum((scale[0] * x).abs(), (scale[1] * low).abs()), torch.full_like(x, atol))
    error = (scale[1] * (high - low) / delta).abs()[:, 0]
    if variant == "k_diffusion":
        factor = 1 + torch.atan((error + 1e-8) ** -0.5 - 1)
        accept = factor >= 0.81
    else:
        factor, accept = theta * error**-0.5, error <= 1
    assert accept.tolist() == [True, False]
    calls = Calls(gaussian)
    method = DPMSolverAdaptive(atol=atol, rtol=rtol, theta=theta, h_init=h, variant=variant)
    method.sample(problem(calls, x), 5)
    torch.testing.assert_close(calls.levels[2], torch.tensor([t, HIGH], dtype=torch.float64), rtol=1e-12, atol=0)
    left = torch.tensor([math.log(t / LOW), math.log(HIGH / LOW)], dtype=torch.float64)
    step = torch.minimum(h * factor, left)
    torch.testing.assert_close(calls.levels[3], calls.levels[2] * (-step / 2).exp(), rtol=1e-10, atol=0)
    after = DPMSolverAdaptive(atol=atol, rtol=rtol, theta=theta, h_init=h, variant=variant).sample(
        problem(gaussian, x), 3
    )
    expected = torch.stack([gaussian(high, t)[0], gaussian(x, HIGH)[1]])
    torch.testing.assert_close(after, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("variant", ["dpm_solver", "k_diffusion"])
def test_arrived_samples_idle(denoise, noise, order: int, variant: str) -> None:
    x, calls = HIGH * noise(), Calls(denoise)
    method = DPMSolverAdaptive(order=order, variant=variant)
    ends = [method.sample(problem(calls, x), nfe) for nfe in (120, 122, 139)]
    torch.testing.assert_close(calls.levels[-1], torch.full((8,), LOW, dtype=torch.float64), rtol=1e-12, atol=0)
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2])


@pytest.mark.parametrize("variant", ["dpm_solver", "k_diffusion"])
@pytest.mark.parametrize("order", [2, 3])
def test_a_tighter_tolerance_is_closer(variant: str, order: int) -> None:
    x = HIGH * torch.linspace(-1, 1, 8, dtype=torch.float64).view(4, 2)
    truth = gaussian(exact(x, HIGH, LOW), LOW)
    errors = []
    for scale in (1.0, 0.1):
        method = DPMSolverAdaptive(order=order, variant=variant, rtol=0.05 * scale, atol=0.0078 * scale)
        errors.append(float((method.sample(problem(gaussian, x), 301) - truth).abs().max()))
    assert errors[1] < 0.5 * errors[0] < 0.05


@pytest.mark.parametrize("nfe", [6, 12, 41])
def test_samples_do_not_see_each_other(denoise, noise, nfe: int) -> None:
    x = HIGH * noise()
    for method in (DPMSolverAdaptive(), DPMSolverAdaptive(order=3, variant="k_diffusion")):
        together = method.sample(problem(denoise, x), nfe)
        alone = torch.cat([method.sample(problem(denoise, row[None]), nfe) for row in x])
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("order", [2, 3])
def test_is_k_diffusion_for_one_sample(denoise, noise, k_sampling: ModuleType, order: int) -> None:
    x = HIGH * noise()[:3]
    ours = DPMSolverAdaptive(order=order, variant="k_diffusion").sample(problem(denoise, x), 121)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        theirs = [k_sampling.sample_dpm_adaptive(denoise, row[None], LOW, HIGH, disable=True, order=order) for row in x]
    finally:
        torch.set_default_dtype(before)
    torch.testing.assert_close(ours, denoise(torch.cat(theirs), LOW), rtol=0, atol=1e-9)


def test_images_in_single_precision() -> None:
    x = HIGH * torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(3))
    for order in (2, 3):
        method = DPMSolverAdaptive(order=order)
        single, double = method.sample(problem(gaussian, x), 80), method.sample(problem(gaussian, x.double()), 80)
        assert (single.shape, single.dtype) == (x.shape, torch.float32)
        torch.testing.assert_close(single, double.float(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "spec", ["order=1", "order=4", "atol=0", "rtol=-1", "theta=0", "theta=1.1", "h_init=0", "variant=x"]
)
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"dpm_solver_adaptive[{spec}]")
