"""DEIS against mpmath's quadrature, closed forms and measured orders; others are in ``bench.parity``."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath
import pytest
import torch
from torch import Tensor

from bench.errors import UsageError
from bench.grids import Grid, make_grid
from bench.process import EDM, VE, RectifiedFlow, VPDiscrete, VPLinear
from bench.registry import create
from methods.solvers.deis import DEIS

STEPS = (1, 2, 3, 5, 8, 10, 20)
VARIANTS = ("tab", "rhoab", "logrho")
PROCESSES = (VPLinear(), RectifiedFlow(), VE(), EDM())
Make = Callable[..., Grid]


class NoNoise:
    def normal(self) -> Tensor:
        raise AssertionError("DEIS is deterministic")


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: p.name)
def test_tab_integrates_polynomials_in_time(process) -> None:
    """The authors' definition: int L_j(t) (dsigma/dt) dt, here by mpmath."""
    grid = make_grid("time_uniform[end=sigma_min]", 4, 0.02, 40.0, process)
    t = grid.t.tolist()
    weights = DEIS(order=3)._weights(grid)[3]
    used = [t[3], t[2], t[1]]

    def sigma(time: mpmath.mpf) -> mpmath.mpf:
        return mpmath.mpf(float(process.sigma(torch.tensor(float(time), dtype=torch.float64))))

    for j in range(3):
        others = used[:j] + used[j + 1 :]

        def lagrange(u: mpmath.mpf, j: int = j, others: list[float] = others) -> mpmath.mpf:
            return mpmath.fprod((u - o) / (used[j] - o) for o in others)

        def slope(u: mpmath.mpf, j: int = j, others: list[float] = others) -> mpmath.mpf:
            return (2 * u - sum(others)) / mpmath.fprod(used[j] - o for o in others)

        # by parts, so that sigma need not be differentiated
        ends = lagrange(t[4]) * sigma(t[4]) - lagrange(t[3]) * sigma(t[3])
        inner = mpmath.quad(lambda u, slope=slope: slope(u) * sigma(u), [t[3], t[4]])
        assert weights[j] == pytest.approx(float(ends - inner), rel=1e-9)


def test_tab_is_rhoab_where_time_is_sigma(denoise, noise, karras: Make) -> None:
    for n in STEPS:
        for end in ("sigma_min", "zero"):
            grid, x = karras(n, end), 10 * noise()
            assert grid.process.name == "edm"
            one = DEIS(variant="tab").integrate(denoise, x, grid, NoNoise())
            two = DEIS(variant="rhoab").integrate(denoise, x, grid, NoNoise())
            torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-11)


def test_tab_is_logrho_where_time_is_log_sigma(denoise, noise) -> None:
    for n in STEPS:
        for end in ("sigma_min", "zero"):
            grid = make_grid(f"karras[end={end}]", n, 0.02, 10.0, VE())
            one = DEIS(variant="tab").integrate(denoise, 10 * noise(), grid, NoNoise())
            two = DEIS(variant="logrho", order=4).integrate(denoise, 10 * noise(), grid, NoNoise())
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_rhoab_is_exact_for_polynomials_in_sigma(uneven: Make, order: int) -> None:
    """eps = sigma^k depends on sigma alone, so that x = x0 + (sigma^{k+1} - start^{k+1}) / (k+1)."""
    grid, k = uneven(9), order - 1
    # the ramp's first steps are not exact for it: their error is taken from a run that stops there
    x = torch.full((1, 2), 3.0, dtype=torch.float64)
    solver = DEIS(variant="rhoab", order=order)
    denoise = lambda x, sigma: x - sigma * sigma**k  # noqa: E731
    after = solver.integrate(denoise, x, Grid(grid.sigma[:order], grid.process), NoNoise()) if order > 1 else x
    end = solver.integrate(denoise, x, grid, NoNoise())
    expected = after + (grid.nodes[-1] ** (k + 1) - grid.nodes[order - 1] ** (k + 1)) / (k + 1)
    torch.testing.assert_close(end, expected, rtol=1e-11, atol=0)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("order", [1, 2])
def test_declared_order_is_measured(denoise, noise, uneven: Make, variant: str, order: int) -> None:
    solver, x = DEIS(variant=variant, order=order), 2 * noise()
    assert solver.declared_order == order
    ends = [
        solver.integrate(denoise, x, Grid(uneven(n, 2.0, 0.1).sigma, VPLinear()), NoNoise()) for n in (128, 256, 512)
    ]
    measured = math.log2(float((ends[0] - ends[1]).norm() / (ends[1] - ends[2]).norm()))
    assert measured == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_start_limits_order_3(denoise, noise, uneven: Make, variant: str) -> None:
    """From sigma = 80 the first step has little to do, from 2 it has its share."""
    solver = DEIS(variant=variant, order=3)
    assert (solver.declared_order, DEIS(variant=variant, order=4).declared_order) == (3, None)

    def slope(high: float, steps: tuple[int, int, int]) -> float:
        grids = [Grid(uneven(n, high, 0.1).sigma, VPLinear()) for n in steps]
        ends = [solver.integrate(denoise, high * noise(), grid, NoNoise()) for grid in grids]
        return math.log2(float((ends[0] - ends[1]).norm() / (ends[1] - ends[2]).norm()))

    assert slope(80.0, (128, 256, 512)) == pytest.approx(3, abs=0.15)
    assert slope(2.0, (200, 400, 800)) < 2.5


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("process", [*PROCESSES, VPDiscrete((0.001,) * 50 + (0.02,) * 400)], ids=lambda p: p.name)
def test_first_order_is_ddim_and_all_orders_end_at_zero(denoise, noise, variant: str, process) -> None:
    for n in STEPS:
        grid = make_grid("karras", n, 0.02, min(10.0, 0.99 * process.sigma_max), process)
        x = grid.nodes[0] * noise()
        ddim = x
        for s, t in grid.steps():
            ddim = ddim + (t - s) * (ddim - denoise(ddim, s)) / s
        first = DEIS(variant=variant, order=1).integrate(denoise, x, grid, NoNoise())
        torch.testing.assert_close(first, ddim, rtol=1e-11, atol=1e-12)
        for order in (2, 3, 4):
            end = DEIS(variant=variant, order=order).integrate(denoise, x, grid, NoNoise())
            assert float(end.abs().max()) < 4  # the data's means are within 1.5, its deviations within 0.4


def test_long_steps_to_zero_have_order_one(karras: Make) -> None:
    assert DEIS(variant="logrho")._orders(karras(5, "zero")) == [1, 2, 3, 4, 1]
    assert DEIS(variant="rhoab")._orders(karras(5, "zero")) == [1, 2, 3, 4, 4]
    far = Grid(torch.tensor([3.0, 2.5, 2.0, 0.0], dtype=torch.float64), EDM())
    assert DEIS(variant="tab")._orders(far) == [1, 2, 1]


@pytest.mark.parametrize("spec", ["order=5", "variant=rho", "lower_final=-1"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"deis[{spec}]")
