"""Single-step DPM-Solver++: other implementations, measured orders, budgets, and one step in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.convergence import GRIDS, measured_order
from bench.errors import UsageError
from bench.grids import Grid, make_grid
from bench.process import EDM
from bench.registry import create
from methods.solvers.dpm_solver_pp_single import DPMSolverPPSingle

Make = Callable[..., Grid]
NOISES = ("end", "stages", "brownian")


class Fixed:
    """Noise from a list, which counts how often it was drawn."""

    def __init__(self, values: list[Tensor]) -> None:
        self.values = values
        self.drawn = 0

    def normal(self) -> Tensor:
        self.drawn += 1
        return self.values[self.drawn - 1]


def normals(n: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(9)
    return [torch.randn(8, 2, generator=generator, dtype=torch.float64) for _ in range(n)]


@dataclass
class Task:
    """As much of a problem as a solver looks at, with a counted denoiser."""

    model: Callable[[Tensor, float], Tensor]
    x: Tensor
    noise: Fixed
    calls: int = 0

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        self.calls += 1
        return self.model(x, sigma)

    def grid(self, spec: str, intervals: int) -> Grid:
        return make_grid(spec, intervals, 0.02, 10.0, EDM())


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("name", ["2s_ancestral", "sde"])
def test_is_k_diffusion(denoise, noise, karras: Make, k_sampling: ModuleType, name: str, eta: float) -> None:
    for n in (1, 2, 5, 10):
        grid, x, z = karras(n, "append"), 10 * noise(), normals(2 * n)
        ours, source = Fixed(z), Fixed(z).normal
        theirs = getattr(k_sampling, f"sample_dpmpp_{name}")(
            denoise, x, grid.sigma, disable=True, eta=eta, noise_sampler=lambda *_, draw=source: draw()
        )
        solver = DPMSolverPPSingle(eta=eta, noise_at="end" if name == "2s_ancestral" else "stages")
        torch.testing.assert_close(solver.integrate(denoise, x, grid, ours), theirs, rtol=1e-8, atol=1e-8)
        per_step = 0 if eta == 0 else 1 if name == "2s_ancestral" else 2
        assert ours.drawn == per_step * (n - 1)  # none on the step to 0


def test_brownian_noise_is_k_diffusion(denoise, noise, karras: Make, k_sampling: ModuleType) -> None:
    """Its own Brownian tree, of which ours gets the independent increments."""
    for eta in (0.6, 1.0):
        grid, x = karras(3, "append"), 10 * noise()
        tree = k_sampling.BrownianTreeNoiseSampler(x, grid.sigma[-2] * 0.99, grid.sigma[0] * 1.01, seed=3)
        theirs = k_sampling.sample_dpmpp_sde(denoise, x, grid.sigma, disable=True, eta=eta, noise_sampler=tree)
        z = []
        for high, low in [(grid.sigma[i], grid.sigma[i + 1]) for i in range(2)]:
            z += [tree(high, (high * low).sqrt()), tree((high * low).sqrt(), low)]
        ours = DPMSolverPPSingle(eta=eta, noise_at="brownian").integrate(denoise, x, grid, Fixed(z))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)  # its path is known to 1e-6 in time


@pytest.mark.parametrize("noise_at", NOISES)
@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
def test_a_step_in_closed_form(noise_at: str, solver_type: str) -> None:
    """With eta = 1 a step of the reverse SDE is a step of twice the length; D = c0 + c1 x shows every weight."""
    high, low = 4.0, 1.0
    middle, z = 2.0, [torch.full((1, 1), value, dtype=torch.float64) for value in (0.7, -1.3)]
    x = torch.full((1, 1), 3.0, dtype=torch.float64)

    def model(x: Tensor, sigma: float) -> Tensor:
        return 0.2 + x / (1 + sigma)

    first = float(model(x, high))
    if noise_at == "end":  # sigma_down = low^2 / high, so that the node, their geometric mean, is at low
        node, u = low, 0.25 * 3.0 + 0.75 * first
    else:
        node, u = middle, 0.25 * 3.0 + 0.75 * first + middle * math.sqrt(0.75) * 0.7
    second = float(model(torch.tensor([[u]], dtype=torch.float64), node))
    span = 2 * math.log(4)
    p = 15 / 16
    b = p if solver_type == "midpoint" else 2 * (1 - p / span)
    share = {"end": 0.0, "stages": 0.0, "brownian": (high - middle) / (high - low)}[noise_at]
    last = z[0] if noise_at == "end" else z[1]
    fresh = math.sqrt(share) * 0.7 + math.sqrt(1 - share) * float(last)
    expected = 3.0 / 16 + (p - b) * first + b * second + low * math.sqrt(p) * fresh
    solver = DPMSolverPPSingle(eta=1, noise_at=noise_at, solver_type=solver_type)
    grid = Grid(torch.tensor([high, low], dtype=torch.float64), EDM())
    assert float(solver.integrate(model, x, grid, Fixed(z))) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("noise_at", NOISES)
def test_first_order_with_noise_has_exact_mean_and_variance(noise_at: str, karras: Make) -> None:
    """Order 1, any eta: sigma_down^2 + sigma_up^2 = sigma_t^2, and the mean is that of the step to sigma_down."""
    grid, x = karras(1), torch.full((2, 1), 3.0, dtype=torch.float64)
    z = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    for eta in (0.4, 1.0):
        solver = DPMSolverPPSingle(order=1, eta=eta, noise_at=noise_at)
        without, with_ = solver.integrate(lambda x, _: 0 * x + 0.5, x, grid, Fixed([z])).flatten().tolist()
        up = eta * 0.02 * math.sqrt(1 - 0.002**2)
        assert with_ - without == pytest.approx(up, rel=1e-12)
        down = math.sqrt(0.02**2 - up**2) / 10
        assert without == pytest.approx(3 * down + 0.5 * (1 - down), rel=1e-13)


def test_order_3_has_noise_at_the_end(denoise, noise, uneven: Make) -> None:
    """It is the ODE to sigma_down and then noise."""
    grid, x, (z,) = uneven(1), 5 * noise(), normals(1)
    high, low = grid.nodes
    up = 0.6 * low * math.sqrt(1 - (low / high) ** 2)
    down = Grid(torch.tensor([high, math.sqrt(low**2 - up**2)], dtype=torch.float64), EDM())
    ode = DPMSolverPPSingle(order=3).integrate(denoise, x, down, Fixed([]))
    ours = DPMSolverPPSingle(order=3, eta=0.6).integrate(denoise, x, grid, Fixed([z]))
    torch.testing.assert_close(ours, ode + up * z, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_declared_order_is_measured(order: int, solver_type: str) -> None:
    solver = DPMSolverPPSingle(order=order, solver_type=solver_type, noise_at="end")
    assert solver.declared_order == order
    for kind in GRIDS:
        assert measured_order(solver, kind, (64, 128, 256)) == pytest.approx(order, abs=0.15)
    assert DPMSolverPPSingle(order=order, eta=0.1).declared_order is None


@pytest.mark.parametrize(("order", "solver_type", "degree"), [(1, "midpoint", 0), (2, "heun", 1), (3, "heun", 2)])
def test_polynomials_in_lambda_are_integrated_exactly(uneven: Make, order: int, solver_type: str, degree: int) -> None:
    grid = uneven(3)

    def integral(sigma: float) -> float:  # of e^{lambda} lambda^degree dlambda
        value = -math.log(sigma)
        return math.exp(value) * [1, value - 1, value**2 - 2 * value + 2][degree]

    x = torch.full((2, 2), 3.0, dtype=torch.float64)
    solver = DPMSolverPPSingle(order=order, solver_type=solver_type)
    end = solver.integrate(lambda x, s: torch.full_like(x, (-math.log(s)) ** degree), x, grid, Fixed([]))
    high, low = grid.nodes[0], grid.nodes[-1]
    expected = x * low / high + low * (integral(low) - integral(high))
    torch.testing.assert_close(end, expected, rtol=1e-11, atol=0)


@pytest.mark.parametrize("spec", ["eta=0.5", "eta=1,noise_at=stages", "order=3", "order=1", "order=3,eta=1"])
@pytest.mark.parametrize("grid", ["karras", "karras[end=append]", "logsnr[end=sigma_min]"])
def test_every_budget_is_used_exactly(denoise, noise, spec: str, grid: str) -> None:
    solver = create("method", f"dpm_solver_pp_single[{spec},grid={grid}]")
    for nfe in range(1, 14):
        task = Task(denoise, 10 * noise(), Fixed(normals(2 * nfe)))
        end = solver.sample(task, nfe)
        assert task.calls == nfe
        assert bool(torch.isfinite(end).all())


def test_plans(denoise, noise) -> None:
    assert DPMSolverPPSingle(order=3, plan="fast").orders(6) == [3, 2, 1]
    assert DPMSolverPPSingle(order=3, plan="full").orders(6) == [3, 3]
    assert DPMSolverPPSingle(order=3).orders(6) == [3, 2, 1]
    assert DPMSolverPPSingle().intervals(6) == 4
    task = Task(denoise, 10 * noise(), Fixed([]))
    with pytest.raises(Unsupported, match="order 2 at 4 evaluations"):
        DPMSolverPPSingle(plan="fast").sample(task, 4)
    assert task.calls == 0


def test_integrate_has_full_order_but_for_the_step_to_zero(denoise, noise, karras: Make) -> None:
    for order in (1, 2, 3):
        for end, expected in (("sigma_min", 4 * order), ("zero", 3 * order + 1)):
            task = Task(denoise, 10 * noise(), Fixed([]))
            DPMSolverPPSingle(order=order).integrate(task.denoise, task.x, karras(4, end), task.noise)
            assert task.calls == expected


def variance(solver: DPMSolverPPSingle, grid: Grid, s: float = 0.5) -> float:
    """The final variance when data are N(0, s^2): all is linear, and what becomes of each normal number is followed."""
    n = 2 * (len(grid) - 1)
    rows = torch.eye(n + 1, dtype=torch.float64)
    noise = Fixed(list(rows[:, 1:, None].unbind(1)))
    end = solver.integrate(lambda x, sigma: x * s**2 / (s**2 + sigma**2), rows[:, :1].clone(), grid, noise)
    factor, *spread = end.flatten().tolist()
    return factor**2 * (grid.nodes[0] ** 2 + s**2) + sum(b**2 for b in spread)


@pytest.mark.parametrize("eta", [0.5, 1.0])
@pytest.mark.parametrize(("noise_at", "weak_order"), [("end", 2), ("brownian", 2), ("stages", 1)])
def test_tends_to_the_variance_of_the_data(karras: Make, noise_at: str, weak_order: int, eta: float) -> None:
    """Independent noise in the middle costs an order: its covariance with that of the step is of the order of h^2."""
    solver = DPMSolverPPSingle(eta=eta, noise_at=noise_at)
    errors = [abs(variance(solver, karras(n)) / (0.5**2 + 0.02**2) - 1) for n in (80, 160)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(weak_order, abs=0.3)


def test_samples_are_distributed_like_the_data(karras: Make) -> None:
    s, n = 0.5, 60
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20000, 1, generator=generator, dtype=torch.float64) * math.sqrt(10**2 + s**2)
    z = [torch.randn(20000, 1, generator=generator, dtype=torch.float64) for _ in range(n)]
    end = DPMSolverPPSingle(eta=1).integrate(lambda x, sigma: x * s**2 / (s**2 + sigma**2), x, karras(n), Fixed(z))
    assert float(end.mean()) == pytest.approx(0, abs=0.015)  # 4 standard errors
    assert float(end.var()) == pytest.approx(s**2 + 0.02**2, rel=0.05)


def test_order_3_with_noise_in_the_stages_is_refused() -> None:
    with pytest.raises(UsageError, match="noise_at=end"):
        create("method", "dpm_solver_pp_single[order=3,noise_at=stages]")


@pytest.mark.parametrize(
    "spec", ["order=0", "order=4", "plan=slow", "eta=1.5", "eta=-1", "noise_at=start", "solver_type=x"]
)
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"dpm_solver_pp_single[{spec}]")
