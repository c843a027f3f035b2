"""SEEDS: the ODE solvers it tends to, one step in closed form, the path of its noise, weak orders, budgets."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.convergence import GRIDS, measured_order
from bench.errors import UsageError
from bench.grids import Grid, make_grid
from bench.process import EDM
from bench.registry import create
from methods.solvers.dpm_solver import DPMSolver
from methods.solvers.dpm_solver_pp_single import DPMSolverPPSingle
from methods.solvers.seeds import SEEDS

Make = Callable[..., Grid]
ALL = [
    SEEDS(order=order, prediction=prediction, tableau=tableau, eta=eta)
    for order in (1, 2, 3)
    for prediction in ("data", "noise")
    for tableau in ("a", "b")
    for eta in (0.5, 1.0)
]


class Fixed:
    """Noise from a list, which counts how often it was drawn."""

    def __init__(self, values: list[Tensor]) -> None:
        self.values = values
        self.drawn = 0

    def normal(self) -> Tensor:
        self.drawn += 1
        return self.values[self.drawn - 1].clone()


class Task:
    """As much of a problem as a solver looks at, with a counted denoiser."""

    def __init__(self, model: Callable[[Tensor, float], Tensor], x: Tensor, draws: int) -> None:
        self.model = model
        self.x = x
        self.noise = Fixed([torch.zeros_like(x)] * draws)
        self.calls = 0

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        self.calls += 1
        return self.model(x, sigma)

    def grid(self, spec: str, intervals: int) -> Grid:
        return make_grid(spec, intervals, 0.02, 10.0, EDM())


def linear(solver: SEEDS, grid: Grid, model: Callable[[Tensor, float], Tensor]) -> tuple[float, list[float]]:
    """What becomes of x and of each normal number when the model is linear in x."""
    draws = solver.order * (len(grid) - 1)
    rows = torch.eye(draws + 1, dtype=torch.float64)
    noise = Fixed(list(rows[:, 1:, None].unbind(1)))
    factor, *spread = solver.integrate(model, rows[:, :1].clone(), grid, noise).flatten().tolist()
    assert noise.drawn == draws
    return factor, spread


@pytest.mark.parametrize("order", [1, 2, 3])
def test_without_noise_it_is_dpm_solver(denoise, noise, uneven: Make, order: int) -> None:
    grid, x, none = uneven(5), 5 * noise(), Fixed([])
    for tableau, solver_type in (("a", "midpoint"), ("b", "heun")):
        data = DPMSolverPPSingle(order=order, solver_type=solver_type).integrate(denoise, x, grid, none)
        ours = SEEDS(order=order, tableau=tableau, eta=0).integrate(denoise, x, grid, none)
        torch.testing.assert_close(ours, data, rtol=1e-12, atol=1e-12)
    eps = DPMSolver(order=order).integrate(denoise, x, grid, none)
    ours = SEEDS(order=order, prediction="noise", eta=0).integrate(denoise, x, grid, none)
    torch.testing.assert_close(ours, eps, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tableau", ["a", "b"])
@pytest.mark.parametrize("prediction", ["data", "noise"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_declared_order_is_measured(order: int, prediction: str, tableau: str) -> None:
    solver = SEEDS(order=order, prediction=prediction, tableau=tableau, eta=0)
    assert solver.declared_order == order
    for kind in GRIDS:
        assert measured_order(solver, kind, (64, 128, 256)) == pytest.approx(order, abs=0.15)
    assert SEEDS(order=order, prediction=prediction, tableau=tableau).declared_order is None


@pytest.mark.parametrize("solver", ALL, ids=str)
def test_noise_is_one_path(solver: SEEDS) -> None:
    """With a constant prediction the noise of a step has the variance of the SDE, however it was put together."""
    high, low = 4.0, 1.0
    grid = Grid(torch.tensor([high, low], dtype=torch.float64), EDM())
    if solver.prediction == "data":
        factor, spread = linear(solver, grid, lambda x, _: 0 * x)
        assert factor == pytest.approx((low / high) ** (1 + solver.eta), rel=1e-12)
        variance = low**2 * (1 - (low / high) ** (2 * solver.eta))
    else:
        factor, spread = linear(solver, grid, lambda x, _: x)
        assert factor == pytest.approx(1, rel=1e-12)
        variance = solver.eta * (high**2 - low**2)
    assert sum(b**2 for b in spread) == pytest.approx(variance, rel=1e-12)


def test_the_share_of_each_increment() -> None:
    """Three increments with nodes at 1/3 and 2/3 of 2 log 8, all of it written out; eta = 1."""
    grid = Grid(torch.tensor([8.0, 1.0], dtype=torch.float64), EDM())
    _, spread = linear(SEEDS(order=3), grid, lambda x, _: 0 * x)
    fresh = math.sqrt(1 - 1 / 4)  # of a third of the step, in units of its sigma
    assert spread == pytest.approx([4 * fresh / 16, 2 * fresh / 4, fresh], rel=1e-12)
    _, spread = linear(SEEDS(order=3, prediction="noise"), grid, lambda x, _: x)
    assert spread == pytest.approx([math.sqrt(64 - 16), math.sqrt(16 - 4), math.sqrt(4 - 1)], rel=1e-12)


@pytest.mark.parametrize("tableau", ["a", "b"])
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_a_step_of_seeds_2_in_closed_form(tableau: str, eta: float) -> None:
    grid, k = Grid(torch.tensor([4.0, 1.0], dtype=torch.float64), EDM()), 1 + eta

    def model(x: Tensor, sigma: float) -> Tensor:
        return 0.2 + x / (1 + sigma)

    z = [torch.full((1, 1), value, dtype=torch.float64) for value in (0.7, -1.3)]
    x = torch.full((1, 1), 3.0, dtype=torch.float64)
    h, p, half = k * math.log(4), 1 - 4**-k, 1 - 2**-k
    b = p if tableau == "a" else 2 * (1 - p / h)
    first = 0.2 + 3 / 5
    old = 2 * math.sqrt(1 - 4**-eta) * 0.7
    u = 2**-k * 3 + half * first + old
    new = 2**-k * old - math.sqrt(1 - 4**-eta) * 1.3
    expected = 4**-k * 3 + (p - b) * first + b * (0.2 + u / 3) + new
    end = SEEDS(tableau=tableau, eta=eta).integrate(model, x, grid, Fixed(z))
    assert float(end) == pytest.approx(expected, rel=1e-13)

    # the same with eps: -b is 2 h phi_2(h), weights are sigma times those of a step back
    e_0 = (3 - first) / 4
    old = math.sqrt(eta * 12) * 0.7
    u = 3 - 2 * k * e_0 + old
    e_1 = (u - 0.2 - u / 3) / 2
    back = 3 if tableau == "a" else 2 * (3 / math.log(4) - 1)
    new = old - math.sqrt(eta * 3) * 1.3
    expected = 3 - k * (3 - back) * e_0 - k * back * e_1 + new
    end = SEEDS(prediction="noise", tableau=tableau, eta=eta).integrate(model, x, grid, Fixed(z))
    assert float(end) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("solver", ALL, ids=str)
def test_tends_to_the_variance_of_the_data(solver: SEEDS, karras: Make) -> None:
    """For x0 ~ N(0, s^2): with slope 1 for order 1, else 2; order 3 is an order of the ODE only."""
    s, errors = 0.5, []
    for n in (80, 160):
        grid = karras(n)
        factor, spread = linear(solver, grid, lambda x, sigma: x * s**2 / (s**2 + sigma**2))
        variance = factor**2 * (10**2 + s**2) + sum(b**2 for b in spread)
        errors.append(abs(variance / (s**2 + 0.02**2) - 1))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(min(solver.order, 2), abs=0.4)
    assert errors[1] < (0.05 if solver.order == 1 else 2e-3)


def test_samples_are_distributed_like_the_data(karras: Make) -> None:
    s, n = 0.5, 40
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20000, 1, generator=generator, dtype=torch.float64) * math.sqrt(10**2 + s**2)
    z = [torch.randn(20000, 1, generator=generator, dtype=torch.float64) for _ in range(2 * n)]
    end = SEEDS(tableau="b").integrate(lambda x, sigma: x * s**2 / (s**2 + sigma**2), x, karras(n), Fixed(z))
    assert float(end.mean()) == pytest.approx(0, abs=0.015)  # 4 standard errors
    assert float(end.var()) == pytest.approx(s**2 + 0.02**2, rel=0.05)


@pytest.mark.parametrize(
    "spec", ["", "order=1,", "order=3,", "prediction=noise,", "order=3,prediction=noise,tableau=b,"]
)
@pytest.mark.parametrize("grid", ["karras", "karras[end=append]", "logsnr[end=sigma_min]"])
def test_every_budget_is_used_exactly(denoise, noise, spec: str, grid: str) -> None:
    solver = create("method", f"seeds[{spec}grid={grid}]")
    for nfe in range(1, 14):
        task = Task(denoise, 10 * noise(), 3 * nfe)
        end = solver.sample(task, nfe)
        assert task.calls == nfe
        assert bool(torch.isfinite(end).all())


def test_plans(denoise, noise) -> None:
    assert SEEDS(order=3).orders(6) == [3, 2, 1]
    assert SEEDS(order=3, plan="full").orders(6) == [3, 3]
    assert SEEDS().intervals(6) == 4
    task = Task(denoise, 10 * noise(), 0)
    with pytest.raises(Unsupported, match="order 2 at 4 evaluations"):
        SEEDS(plan="full").sample(task, 4)
    assert task.calls == 0


def test_the_step_to_zero_is_the_prediction_without_noise(denoise, noise, karras: Make) -> None:
    for prediction in ("data", "noise"):
        for order in (1, 2, 3):
            solver, task = SEEDS(order=order, prediction=prediction), Task(denoise, 10 * noise(), 9 * order)
            solver.integrate(task.denoise, task.x, karras(4, "zero"), task.noise)
            assert task.calls == 3 * order + 1
            assert task.noise.drawn == 3 * order
            only = solver.integrate(denoise, task.x, karras(1, "append"), Fixed([]))
            torch.testing.assert_close(only, denoise(task.x, 10.0))


@pytest.mark.parametrize("spec", ["order=0", "order=4", "plan=slow", "eta=-1", "eta=5", "tableau=c", "prediction=x0"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"seeds[{spec}]")
