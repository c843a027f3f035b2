"""SA-Solver: the codes it is in, Adams methods as limits, one step in closed form, weak orders, budgets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.coefficients import data_weights
from bench.convergence import GRIDS, measured_order
from bench.errors import UsageError
from bench.grids import Grid, make_grid
from bench.process import EDM
from bench.registry import create
from methods.solvers.dpm_solver_pp import DPMSolverPP
from methods.solvers.dpm_solver_pp_sde import DPMSolverPPSDE
from methods.solvers.sa_solver import SASolver

Make = Callable[..., Grid]


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


class Task:
    """As much of a problem as a solver looks at, with a counted denoiser."""

    def __init__(self, model: Callable[[Tensor, float], Tensor], x: Tensor, draws: int) -> None:
        self.model = model
        self.x = x
        self.noise = Fixed(normals(draws))
        self.calls: list[tuple[Tensor, float]] = []

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        self.calls.append((x.clone(), sigma))
        return self.model(x, sigma)

    def grid(self, spec: str, intervals: int) -> Grid:
        return make_grid(spec, intervals, 0.02, 10.0, EDM())


def plain_tau(solver: SASolver, grid: Grid) -> list[float]:
    """tau of each step as the docstring says, written again."""
    high = solver.tau_high or math.inf
    found = []
    for i, (sigma_s, sigma_t) in enumerate(itertools.pairwise(grid.nodes)):
        sigma = sigma_s if solver.convention == "diffusers" else sigma_t
        inside = solver.tau_low <= sigma <= high
        last = solver.convention == "authors" and i == len(grid) - 2
        found.append(solver.tau if inside and not last else 0.0)
    return found


def plain(
    solver: SASolver, denoise: Callable[[Tensor, float], Tensor], x: Tensor, grid: Grid, z: list[Tensor]
) -> Tensor:
    """The algorithm in one loop over all evaluations, without ``rescaled``, on a grid that ends above 0."""
    sigma, n = grid.nodes, len(grid) - 1
    values = [denoise(x, sigma[0])]  # by node
    for i, tau in enumerate(plain_tau(solver, grid)):
        k, (s, t) = 1 + tau**2, (sigma[i], sigma[i + 1])
        p, c = min(solver.predictor_order, i + 1), min(solver.corrector_order, i + 2)
        if solver.lower_final:
            p, c = min(p, n - i), min(c, n - i + 1)

        base = x * (t / s) ** k + t * math.sqrt(1 - (t / s) ** (2 * tau**2)) * z[i]
        length = {j: k * math.log(s / sigma[j]) for j in range(n + 1)}
        old, new = list(range(i, i - p, -1)), list(range(i + 1, i + 1 - c, -1))
        predicted = base.clone()
        for weight, j in zip(data_weights([length[j] for j in old], length[i + 1]), old, strict=True):
            predicted += weight * values[j]
        if i == n - 1:
            return predicted
        values.append(denoise(predicted, t))
        x = base.clone() if c else predicted
        for weight, j in zip(data_weights([length[j] for j in new], length[i + 1]) if c else [], new, strict=True):
            x += weight * values[j]
        if solver.mode == "PECE":
            values[-1] = denoise(x, t)
    raise AssertionError


@pytest.mark.parametrize("spec", [
    "", "predictor_order=1,corrector_order=2", "predictor_order=4,corrector_order=3", "corrector_order=0",
    "predictor_order=2,corrector_order=1", "predictor_order=4,corrector_order=4,lower_final=true", "mode=PECE",
    "corrector_order=2,lower_final=true,mode=PECE", "tau=0.6,tau_low=0.3,tau_high=2", "tau=0.6,tau_low=0.3",
    "convention=diffusers", "tau=0.6,tau_low=0.3,tau_high=2,convention=diffusers", "tau=2,tau_high=2",
])  # fmt: skip
def test_is_the_algorithm_written_plainly(denoise, noise, uneven: Make, spec: str) -> None:
    solver = create("method", f"sa_solver[{spec}]")
    for n in (1, 2, 3, 5, 8):
        grid, x, z = uneven(n), 5 * noise(), normals(n)
        expected = plain(solver, denoise, x, grid, z)
        torch.testing.assert_close(solver.integrate(denoise, x, grid, Fixed(z)), expected, rtol=1e-10, atol=1e-10)


def test_bounds_of_the_window_belong_to_it() -> None:
    solver = SASolver(tau_low=0.5, tau_high=2.0)
    assert [solver._tau(9.0, sigma, False) for sigma in (0.49, 0.5, 2.0, 2.01)] == [0, 1, 1, 0]
    assert solver._tau(9.0, 1.0, True) == 0
    solver = SASolver(tau_low=0.5, tau_high=2.0, convention="diffusers")
    assert [solver._tau(sigma, 0.1, last) for sigma in (2.01, 2.0, 0.5, 0.49) for last in (False, True)] == [
        0, 0, 1, 1, 1, 1, 0, 0,
    ]  # fmt: skip


def test_the_predictor_alone_is_dpm_solver_pp(denoise, noise, uneven: Make, karras: Make) -> None:
    for order in (1, 2, 3):
        for grid in (uneven(6), karras(5, "zero"), karras(1)):
            n = len(grid) - 1
            x, z = grid.nodes[0] * noise(), normals(n)
            options = {"order": order, "solver_type": "heun", "fix_3m": True}
            ours = SASolver(predictor_order=order, corrector_order=0, tau=0).integrate(denoise, x, grid, Fixed([]))
            ode = DPMSolverPP(**options).integrate(denoise, x, grid, Fixed([]))
            torch.testing.assert_close(ours, ode, rtol=1e-11, atol=1e-11)
            solver = SASolver(predictor_order=order, corrector_order=0, tau=0.7, convention="diffusers")
            sde = DPMSolverPPSDE(eta=0.49, **options).integrate(denoise, x, grid, Fixed(z))
            torch.testing.assert_close(solver.integrate(denoise, x, grid, Fixed(z)), sde, rtol=1e-11, atol=1e-11)


def test_rescaled_weights_of_two_nodes() -> None:
    """The line has the moments 1 - e^{-kh} and (kh)^2 / 2, whatever its nodes; other counts are as they are."""
    step, k = (3.0, 1.0), 1.7
    span = k * math.log(3)
    for sigma in ([3.0, 5.0], [1.0, 3.0]):
        nodes = [k * math.log(3 / level) for level in sigma]
        a, b = SASolver(rescaled=True)._weights(sigma, step, k)
        assert a + b == pytest.approx(1 - math.exp(-span), rel=1e-13)
        assert a * nodes[0] + b * nodes[1] == pytest.approx(span**2 / 2, rel=1e-13)
        exact = SASolver()._weights(sigma, step, k)
        assert exact == pytest.approx(data_weights(nodes, span), rel=1e-13)
        assert exact != pytest.approx([a, b], rel=1e-2)
    for sigma in ([3.0], [3.0, 5.0, 6.0], [1.0, 3.0, 5.0]):
        assert SASolver(rescaled=True)._weights(sigma, step, k) == SASolver()._weights(sigma, step, k)


@pytest.mark.parametrize(("spec", "slope"), [
    ("", 4), ("predictor_order=2,corrector_order=3", 3), ("predictor_order=1,corrector_order=4", 2),
    ("predictor_order=3,corrector_order=0", 3), ("predictor_order=4,corrector_order=2", 2), ("corrector_order=1", 1),
    ("predictor_order=2,corrector_order=3,mode=PECE", 3), ("predictor_order=1,corrector_order=2,rescaled=true", 2),
    ("predictor_order=1,corrector_order=1", 1),
])  # fmt: skip
def test_declared_order_is_measured(spec: str, slope: int) -> None:
    solver = create("method", f"sa_solver[tau=0{',' * bool(spec)}{spec}]")
    assert solver.declared_order == slope
    for kind in GRIDS:
        assert measured_order(solver, kind) == pytest.approx(slope, abs=0.15)


def test_no_order_is_claimed_with_noise_or_before_the_limit() -> None:
    assert SASolver().declared_order is None
    assert [SASolver(tau=0, predictor_order=p, corrector_order=p).declared_order for p in (1, 2, 3, 4)] == [
        1,
        *[None] * 3,
    ]


@pytest.mark.parametrize("tau", [0.5, 1.0, 1.5])
def test_mean_and_variance_of_a_step(tau: float, karras: Make) -> None:
    rows = torch.eye(2, dtype=torch.float64)
    solver = SASolver(tau=tau, convention="diffusers")
    end = solver.integrate(lambda x, sigma: x / (1 + sigma**2), rows[:, :1].clone(), karras(1), Fixed([rows[:, 1:]]))
    decay = 0.002 ** (1 + tau**2)
    assert float(end[0]) == pytest.approx(decay + (1 - decay) / 101, rel=1e-12)
    assert float(end[1]) == pytest.approx(0.02 * math.sqrt(1 - 0.002 ** (2 * tau**2)), rel=1e-12)


@pytest.mark.parametrize("orders", [(1, 0), (1, 2), (2, 2), (3, 4)])
@pytest.mark.parametrize("tau", [0.6, 1.0])
def test_tends_to_the_variance_of_the_data(orders: tuple[int, int], tau: float, karras: Make) -> None:
    s, n = 0.5, 160
    solver = SASolver(predictor_order=orders[0], corrector_order=orders[1], tau=tau)
    rows = torch.eye(n + 1, dtype=torch.float64)
    noise = Fixed(list(rows[:, 1:, None].unbind(1)))
    end = solver.integrate(lambda x, u: x * s**2 / (s**2 + u**2), rows[:, :1].clone(), karras(n), noise)
    factor, *spread = end.flatten().tolist()
    error = abs((factor**2 * (10**2 + s**2) + sum(b**2 for b in spread)) / (s**2 + 0.02**2) - 1)
    assert error < (0.05 if orders == (1, 0) else 4e-3)


def test_samples_are_distributed_like_the_data(karras: Make) -> None:
    s, n = 0.5, 40
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20000, 1, generator=generator, dtype=torch.float64) * math.sqrt(10**2 + s**2)
    z = [torch.randn(20000, 1, generator=generator, dtype=torch.float64) for _ in range(n)]
    end = SASolver().integrate(lambda x, sigma: x * s**2 / (s**2 + sigma**2), x, karras(n), Fixed(z))
    assert float(end.mean()) == pytest.approx(0, abs=0.015)  # 4 standard errors
    assert float(end.var()) == pytest.approx(s**2 + 0.02**2, rel=0.05)


@pytest.mark.parametrize("grid", ["karras", "karras[end=append]", "logsnr[end=sigma_min]"])
@pytest.mark.parametrize("spec", ["", "mode=PECE,", "predictor_order=1,corrector_order=0,", "rescaled=true,tau=0,"])
def test_every_budget_is_used_exactly(denoise, noise, spec: str, grid: str) -> None:
    solver = create("method", f"sa_solver[{spec}grid={grid}]")
    for nfe in range(1, 14):
        task = Task(denoise, 10 * noise(), 20)
        if "PECE" in spec and nfe % 2 == 0:
            with pytest.raises(Unsupported, match=f"odd number, not {nfe}"):
                solver.sample(task, nfe)
            continue
        assert bool(torch.isfinite(solver.sample(task, nfe)).all())
        assert len(task.calls) == nfe


def test_the_step_to_zero_is_the_last_prediction(denoise, noise, karras: Make) -> None:
    task = Task(denoise, 10 * noise(), 9)
    end = SASolver().integrate(task.denoise, task.x, karras(4, "zero"), task.noise)
    assert (len(task.calls), task.noise.drawn) == (4, 3)
    torch.testing.assert_close(end, denoise(*task.calls[-1]))
    only = SASolver().integrate(denoise, task.x, karras(1, "append"), Fixed([]))
    torch.testing.assert_close(only, denoise(task.x, 10.0))
    task = Task(denoise, 10 * noise(), 9)
    SASolver(tau=0).integrate(task.denoise, task.x, karras(4, "zero"), task.noise)
    assert task.noise.drawn == 0


def test_pece_needs_a_corrector() -> None:
    with pytest.raises(UsageError, match="needs corrector_order > 0"):
        create("method", "sa_solver[mode=PECE,corrector_order=0]")


@pytest.mark.parametrize("spec", [
    "predictor_order=0", "predictor_order=5", "corrector_order=-1", "corrector_order=5", "tau=-1", "tau=3",
    "tau_low=-1", "tau_high=-1", "mode=PC", "convention=x",
])  # fmt: skip
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"sa_solver[{spec}]")
