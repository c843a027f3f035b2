"""DPM-Solver++ along the SDE: k-diffusion, diffusers, the ODE as a limit, and a Gaussian in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor

from bench.coefficients import data_weights
from bench.errors import UsageError
from bench.grids import Grid
from bench.registry import create
from methods.solvers.dpm_solver_pp import DPMSolverPP
from methods.solvers.dpm_solver_pp_sde import DPMSolverPPSDE

STEPS = (1, 2, 3, 5, 8, 10, 20)
Make = Callable[..., Grid]


class Fixed:
    """Noise that is the same for both sides, and counts how often it was drawn."""

    def __init__(self, values: list[Tensor]) -> None:
        self.values = values
        self.drawn = 0

    def normal(self) -> Tensor:
        self.drawn += 1
        return self.values[self.drawn - 1]


def normals(n: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(9)
    return [torch.randn(8, 2, generator=generator, dtype=torch.float64).to(dtype) for _ in range(n)]


def gaussian(solver: DPMSolverPPSDE, grid: Grid, s: float = 0.5) -> tuple[float, list[float]]:
    """What becomes of x, and of each normal number, when data are N(0, s^2) and all is linear."""
    n = len(grid) - 1
    rows = torch.eye(n + 1, dtype=torch.float64)
    end = solver.integrate(
        lambda x, sigma: x * s**2 / (s**2 + sigma**2),
        rows[:, :1].clone(),
        grid,
        Fixed(list(rows[:, 1:, None].unbind(1))),
    )
    factor, *spread = end.flatten().tolist()
    return factor, spread


@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
@pytest.mark.parametrize("order", [1, 2])
def test_is_diffusers(denoise, noise, karras: Make, diffusers_solve, order: int, solver_type: str) -> None:
    for n in STEPS:
        grid, x, z = karras(n), 10 * noise(torch.float32), normals(n, torch.float32)
        config = {
            "solver_order": order,
            "solver_type": solver_type,
            "algorithm_type": "sde-dpmsolver++",
            "final_sigmas_type": "sigma_min",
        }
        theirs = diffusers_solve("DPMSolverMultistepScheduler", config, x, grid, z)
        solver = DPMSolverPPSDE(order=order, solver_type=solver_type, lower_final=15)
        torch.testing.assert_close(solver.integrate(denoise, x, grid, Fixed(z)), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", ["midpoint", "heun", "3m"])
def test_is_k_diffusion(denoise, noise, karras: Make, k_sampling: ModuleType, name: str, eta: float) -> None:
    for n in STEPS[1:]:  # with one step k-diffusion raises
        grid, x, z = karras(n, "append"), 10 * noise(), normals(n)
        ours, source = Fixed(z), Fixed(z).normal
        options = {"disable": True, "eta": eta, "noise_sampler": lambda *_, draw=source: draw()}
        if name == "3m":
            solver = DPMSolverPPSDE(order=3, solver_type="heun", eta=eta)
            theirs = k_sampling.sample_dpmpp_3m_sde(denoise, x, grid.sigma, **options)
        else:
            solver = DPMSolverPPSDE(solver_type=name, eta=eta)
            theirs = k_sampling.sample_dpmpp_2m_sde(denoise, x, grid.sigma, solver_type=name, **options)
        torch.testing.assert_close(solver.integrate(denoise, x, grid, ours), theirs, rtol=1e-8, atol=1e-8)
        assert ours.drawn == (n - 1 if eta else 0)  # none on the step to 0


@pytest.mark.parametrize("fix", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_without_noise_it_is_the_ode_solver(denoise, noise, uneven: Make, order: int, fix: bool) -> None:
    for solver_type in ("midpoint", "heun"):
        ode = DPMSolverPP(order=order, solver_type=solver_type, fix_3m=fix)
        sde = DPMSolverPPSDE(order=order, solver_type=solver_type, fix_3m=fix, eta=0)
        assert sde.declared_order == ode.declared_order
        grid, x = uneven(7), 5 * noise()
        expected = ode.integrate(denoise, x, grid, Fixed([]))
        torch.testing.assert_close(sde.integrate(denoise, x, grid, Fixed([])), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("eta", [0.4, 1.0])
def test_third_order_integrates_parabolas_exactly(uneven: Make, eta: float) -> None:
    """With a prediction that depends on sigma alone a step is a known integral of its polynomial, of length k h."""

    def curve(sigma: float) -> float:
        return 0.3 + math.log(sigma) - 0.2 * math.log(sigma) ** 2

    grid, k = uneven(6), 1 + eta
    expected = 2.0
    for i, (sigma_s, sigma_t) in enumerate(grid.steps()):
        older = grid.nodes[i::-1][:3]
        nodes = [k * math.log(sigma_s / sigma) for sigma in older]
        weights = data_weights(nodes, k * math.log(sigma_s / sigma_t))
        expected *= (sigma_t / sigma_s) ** k
        expected += sum(weight * curve(sigma) for weight, sigma in zip(weights, older, strict=True))
    x = torch.full((3, 2), 2.0, dtype=torch.float64)
    solver = DPMSolverPPSDE(order=3, solver_type="heun", fix_3m=True, eta=eta)
    zero = Fixed([torch.zeros(3, 2, dtype=torch.float64)] * 6)
    end = solver.integrate(lambda x, sigma: torch.full_like(x, curve(sigma)), x, grid, zero)
    torch.testing.assert_close(end, torch.full_like(end, expected), rtol=1e-12, atol=0)


@pytest.mark.parametrize("eta", [0.3, 1.0, 2.0])
def test_mean_and_variance_of_a_step(eta: float, karras: Make) -> None:
    s, (high, low) = 0.5, (10.0, 0.02)
    factor, (spread,) = gaussian(DPMSolverPPSDE(eta=eta), karras(1), s)
    decay = (low / high) ** (1 + eta)
    assert factor == pytest.approx(decay + (1 - decay) * s**2 / (s**2 + high**2), rel=1e-12)
    assert spread == pytest.approx(low * math.sqrt(1 - (low / high) ** (2 * eta)), rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_tends_to_the_variance_of_the_data(karras: Make, order: int, eta: float) -> None:
    """For x0 ~ N(0, s^2) every eta ends with the variance s^2 + sigma_min^2; the error falls with slope 1, or 2."""
    s = 0.5
    errors = []
    for n in (160, 320):
        factor, spread = gaussian(DPMSolverPPSDE(order=order, eta=eta), karras(n), s)
        variance = factor**2 * (10**2 + s**2) + sum(b**2 for b in spread)
        errors.append(abs(variance / (s**2 + 0.02**2) - 1))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(min(order, 2), abs=0.3)
    assert errors[1] < (0.03 if order == 1 else 1e-3)


def test_samples_are_distributed_like_the_data(karras: Make) -> None:
    s, n = 0.5, 60
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20000, 1, generator=generator, dtype=torch.float64) * math.sqrt(10**2 + s**2)
    z = [torch.randn(20000, 1, generator=generator, dtype=torch.float64) for _ in range(n)]
    end = DPMSolverPPSDE().integrate(lambda x, sigma: x * s**2 / (s**2 + sigma**2), x, karras(n), Fixed(z))
    assert float(end.mean()) == pytest.approx(0, abs=0.015)  # 4 standard errors
    assert float(end.var()) == pytest.approx(s**2 + 0.02**2, rel=0.06)


def test_thresholding_is_diffusers(noise, karras: Make, diffusers_solve) -> None:
    def wide(x: Tensor, sigma: float) -> Tensor:
        return 4 * x / (4 + sigma**2)  # data of standard deviation 2, so that clipping bites

    grid, x = karras(6), 10 * noise(torch.float32).view(2, 4, 2)
    z = [value.view(2, 4, 2) for value in normals(6, torch.float32)]
    config = {
        "solver_order": 2,
        "thresholding": True,
        "sample_max_value": 100.0,
        "algorithm_type": "sde-dpmsolver++",
        "final_sigmas_type": "sigma_min",
    }
    theirs = diffusers_solve("DPMSolverMultistepScheduler", config, x, grid, z, wide)
    solver = DPMSolverPPSDE(threshold=0.995, lower_final=15)
    ours = solver.integrate(wide, x, grid, Fixed(z))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(ours, DPMSolverPPSDE(lower_final=15).integrate(wide, x, grid, Fixed(z)), atol=0.1)


def test_no_order_is_claimed_with_noise_or_threshold() -> None:
    assert DPMSolverPPSDE().declared_order is None
    assert DPMSolverPPSDE(eta=0, threshold=0.9).declared_order is None
    assert [DPMSolverPPSDE(eta=0, order=order).declared_order for order in (1, 2, 3)] == [1, 2, 2]
    assert DPMSolverPPSDE(eta=0, order=3, fix_3m=True).declared_order == 3


@pytest.mark.parametrize(
    "spec", ["order=0", "order=4", "eta=-1", "eta=5", "solver_type=euler", "threshold=2", "sde=true"]
)
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"dpm_solver_pp_sde[{spec}]")
