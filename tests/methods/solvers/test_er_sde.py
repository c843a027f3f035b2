"""ER-SDE-Solver: steps in closed form, integrals in high precision, orders without noise, marginals with it."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath
import pytest
import torch
from torch import Tensor

from bench.coefficients import polynomial_weights
from bench.convergence import GRIDS, measured_order
from bench.errors import UsageError
from bench.grids import Grid
from bench.process import EDM
from bench.registry import create
from methods.solvers.er_sde import ERSDE

Make = Callable[..., Grid]
# the authors' table, written again
PHI: dict[str, Callable[[mpmath.mpf], mpmath.mpf]] = {
    "ode": lambda u: u,
    "sde": lambda u: u * u,
    "sde1": lambda u: u * (mpmath.exp(-1 / u) + 10),
    "sde2": lambda u: u * mpmath.sqrt(u),
    "sde3": lambda u: u * u * mpmath.sqrt(u),
    "sde4": lambda u: u ** mpmath.mpf("0.9") * mpmath.log(1 + 100 * u * mpmath.sqrt(u), 10),
    "sde5": lambda u: u * (mpmath.exp(u ** mpmath.mpf("0.3")) + 10),
}


class Fixed:
    """Noise from a list, which counts how often it was drawn."""

    def __init__(self, values: list[Tensor]) -> None:
        self.values = values
        self.drawn = 0

    def normal(self) -> Tensor:
        self.drawn += 1
        return self.values[self.drawn - 1]


def linear(solver: ERSDE, grid: Grid, model: Callable[[Tensor, float], Tensor]) -> tuple[float, list[float]]:
    """What becomes of x and of each normal number when the model is linear in x."""
    n = len(grid) - 1
    rows = torch.eye(n + 1, dtype=torch.float64)
    noise = Fixed(list(rows[:, 1:, None].unbind(1)))
    factor, *spread = solver.integrate(model, rows[:, :1].clone(), grid, noise).flatten().tolist()
    assert noise.drawn == n
    return factor, spread


def exact_step(scale: str, degree: int, sigma_s: float, sigma_t: float) -> tuple[float, float]:
    """r, and phi(t) int phi'/phi^2 D for D = 1 + ... + (u/10)^degree, in high precision."""
    phi, s, t = PHI[scale], mpmath.mpf(sigma_s), mpmath.mpf(sigma_t)

    def rate(v: mpmath.mpf) -> mpmath.mpf:  # in log sigma
        u = mpmath.exp(v)
        return mpmath.diff(phi, u) / phi(u) ** 2 * phi(t) * u * sum((u / 10) ** power for power in range(degree + 1))

    return float(phi(t) / phi(s)), float(mpmath.quad(rate, mpmath.linspace(mpmath.log(t), mpmath.log(s), 4)))


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("scale", PHI)
def test_a_prediction_that_follows_its_polynomial_is_integrated_exactly(scale: str, order: int, uneven: Make) -> None:
    """With a D(sigma) of degree order - 1 the first step of full order is exact."""
    grid, x = uneven(3, 80.0, 0.02), torch.full((1, 1), 3.0, dtype=torch.float64)
    solver = ERSDE(order=order, scale=scale, newton=True)
    zero = [torch.zeros(1, 1, dtype=torch.float64)] * order

    def model(x: Tensor, sigma: float) -> Tensor:
        return torch.full_like(x, sum((sigma / 10) ** power for power in range(order)))

    def run(steps: int) -> float:
        return float(solver.integrate(model, x, Grid(grid.sigma[: steps + 1].clone(), EDM()), Fixed(zero)))

    r, integral = exact_step(scale, order - 1, grid.nodes[order - 1], grid.nodes[order])
    start = run(order - 1) if order > 1 else 3.0
    assert run(order) == pytest.approx(r * start + integral, rel=1e-9)


def test_the_authors_second_derivative_is_that_of_the_chord(uneven: Make) -> None:
    """D = u^2 / 2 has D'' = 1: theirs has D' = (u_0 + u_1) / 2 instead of u_0, and the right D''."""
    grid = uneven(3)
    t, u_0, u_1, u_2 = grid.nodes[3], grid.nodes[2], grid.nodes[1], grid.nodes[0]
    values = [u**2 / 2 for u in (u_0, u_1, u_2)]

    def step(newton: bool) -> float:
        weights = ERSDE(scale="sde2", newton=newton)._weights([u_0, u_1, u_2], t)
        return sum(weight * value for weight, value in zip(weights, values, strict=True))

    r = (t / u_0) ** 1.5
    i_0 = 2 * (t**-0.5 - u_0**-0.5)  # int u^{-1.5}
    i_1 = 2 * (u_0**0.5 - t**0.5) - u_0 * i_0
    first, second = t - u_0 + t**1.5 * i_0, (t - u_0) ** 2 / 2 + t**1.5 * i_1
    assert step(True) == pytest.approx((1 - r) * values[0] + first * u_0 + second, rel=1e-12)
    assert step(False) == pytest.approx((1 - r) * values[0] + first * (u_0 + u_1) / 2 + second, rel=1e-12)


def test_the_ode_is_adams_bashforth_in_one_over_sigma(denoise, noise, uneven: Make) -> None:
    """phi = u: x_t / t = x_s / s + int D d(1/u); for order 2 a line in u, checked by its moments."""
    grid, x = uneven(1), 5 * noise()
    high, low = grid.nodes
    end = ERSDE(scale="ode").integrate(denoise, x, grid, Fixed([]))
    torch.testing.assert_close(end, torch.lerp(denoise(x, high), x, low / high), rtol=1e-13, atol=1e-13)
    weights = ERSDE(scale="ode")._weights([2.0, 3.0], 1.0)
    # x_t = ... + t int_t^s (a + b u) / u^2 du, a line that is 1 at one node and 0 at the other
    a, b = polynomial_weights([0.0, -1.0], 1.0)
    assert sum(weights) == pytest.approx(0.5)
    assert weights[0] * 2 + weights[1] * 3 == pytest.approx(math.log(2), rel=1e-12)
    assert a + b == pytest.approx(1)


def test_the_sum_of_the_authors() -> None:
    solver = ERSDE(scale="sde", riemann=4)
    nodes = [1.0, 1.5, 2.0, 2.5]
    expected = sum(0.5 / u**2 for u in nodes), sum(0.5 * (u - 3) / u**2 for u in nodes)
    assert solver._integrals(3.0, 1.0) == pytest.approx(expected, rel=1e-14)
    close = ERSDE(scale="sde", riemann=20000)._integrals(3.0, 1.0)
    assert ERSDE(scale="sde")._integrals(3.0, 1.0) == pytest.approx(close, rel=1e-3)


@pytest.mark.parametrize(("order", "newton", "slope"), [(1, False, 1), (2, False, 2), (3, False, 2), (3, True, 3)])
def test_declared_order_is_measured(order: int, newton: bool, slope: int) -> None:
    solver = ERSDE(order=order, newton=newton, scale="ode")
    assert solver.declared_order == slope
    for kind in GRIDS:
        assert measured_order(solver, kind, (64, 128, 256)) == pytest.approx(slope, abs=0.15)
    assert ERSDE(order=order, newton=newton).declared_order is None
    assert ERSDE(order=order, newton=newton, scale="ode", riemann=100).declared_order is None


@pytest.mark.parametrize("scale", [scale for scale in PHI if scale != "ode"])
def test_mean_and_variance_of_a_step(scale: str, karras: Make) -> None:
    """The noise of a step makes up for what r takes away: N(0, sigma_s^2) becomes N(0, sigma_t^2)."""
    high, low = 10.0, 0.02
    factor, (spread,) = linear(ERSDE(scale=scale), karras(1), lambda x, _: 0 * x)
    assert factor == pytest.approx(float(PHI[scale](mpmath.mpf(low)) / PHI[scale](mpmath.mpf(high))), rel=1e-12)
    assert factor**2 * high**2 + spread**2 == pytest.approx(low**2, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("scale", ["sde", "sde1", "sde4", "sde5"])
def test_tends_to_the_variance_of_the_data(scale: str, order: int, karras: Make) -> None:
    s, errors = 0.5, []
    for n in (40, 80, 160):
        factor, spread = linear(ERSDE(scale=scale, order=order), karras(n), lambda x, u: x * s**2 / (s**2 + u**2))
        variance = factor**2 * (10**2 + s**2) + sum(b**2 for b in spread)
        errors.append(abs(variance / (s**2 + 0.02**2) - 1))
    assert errors[2] < (0.05 if order == 1 else 1e-3)
    assert errors[2] < errors[1]


def test_samples_are_distributed_like_the_data(karras: Make) -> None:
    s, n = 0.5, 40
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20000, 1, generator=generator, dtype=torch.float64) * math.sqrt(10**2 + s**2)
    z = [torch.randn(20000, 1, generator=generator, dtype=torch.float64) for _ in range(n)]
    end = ERSDE().integrate(lambda x, sigma: x * s**2 / (s**2 + sigma**2), x, karras(n), Fixed(z))
    assert float(end.mean()) == pytest.approx(0, abs=0.015)  # 4 standard errors
    assert float(end.var()) == pytest.approx(s**2 + 0.02**2, rel=0.05)


def test_the_step_to_zero_is_the_prediction_without_noise(denoise, noise, karras: Make) -> None:
    for scale in PHI:
        source = Fixed([torch.zeros(8, 2, dtype=torch.float64)] * 3)
        ERSDE(scale=scale).integrate(denoise, 10 * noise(), karras(4, "zero"), source)
        assert source.drawn == (0 if scale == "ode" else 3)
        x = 10 * noise()
        only = ERSDE(scale=scale).integrate(denoise, x, karras(1, "append"), Fixed([]))
        torch.testing.assert_close(only, denoise(x, 10.0))


@pytest.mark.parametrize("spec", ["order=0", "order=4", "scale=sde6", "riemann=-1", "newton=2", "eta=1"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"er_sde[{spec}]")
