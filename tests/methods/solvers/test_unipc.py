"""UniPC against closed forms and measured orders; other implementations are in ``bench.parity``."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.errors import UsageError
from bench.grids import Grid
from bench.registry import create
from methods.solvers.dpm_solver_pp import DPMSolverPP
from methods.solvers.unipc import UniPC

STEPS = (1, 2, 3, 5, 8, 10, 20)
Make = Callable[..., Grid]


class NoNoise:
    def normal(self) -> Tensor:
        raise AssertionError("UniPC is deterministic")


def test_without_corrector_it_is_dpm_solver_pp(denoise, noise, karras: Make) -> None:
    """UniP-2 with bh2 is 2M; UniP-3 is 3M with the factor 2."""
    for n in STEPS:
        for end in ("sigma_min", "zero"):
            grid, x = karras(n, end), 10 * noise()
            two = UniPC(order=2, corrector=False).integrate(denoise, x, grid, NoNoise())
            torch.testing.assert_close(
                two, DPMSolverPP().integrate(denoise, x, grid, NoNoise()), rtol=1e-10, atol=1e-12
            )
            three = UniPC(order=3, corrector=False).integrate(denoise, x, grid, NoNoise())
            fixed = DPMSolverPP(order=3, fix_3m=True).integrate(denoise, x, grid, NoNoise())
            torch.testing.assert_close(three, fixed, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("corrector", [True, False])
@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("order", [1, 2])
def test_declared_order_is_measured(denoise, noise, uneven: Make, order: int, variant: str, corrector: bool) -> None:
    solver, x = UniPC(order=order, variant=variant, corrector=corrector), 2 * noise()
    assert solver.declared_order == order + corrector
    ends = [solver.integrate(denoise, x, uneven(n, 2.0, 0.1), NoNoise()) for n in (128, 256, 512)]
    measured = math.log2(float((ends[0] - ends[1]).norm() / (ends[1] - ends[2]).norm()))
    assert measured == pytest.approx(order + corrector, abs=0.15)


@pytest.mark.parametrize("corrector", [True, False])
def test_the_start_limits_order_3(denoise, noise, uneven: Make, corrector: bool) -> None:
    """From sigma = 80 the first step has little to do, from 2 it has its share."""
    solver = UniPC(order=3, variant="bh1", corrector=corrector)
    assert solver.declared_order == 3 + corrector

    def slope(high: float, steps: tuple[int, int, int]) -> float:
        ends = [solver.integrate(denoise, high * noise(), uneven(n, high, 0.1), NoNoise()) for n in steps]
        return math.log2(float((ends[0] - ends[1]).norm() / (ends[1] - ends[2]).norm()))

    assert slope(80.0, (128, 256, 512)) == pytest.approx(3 + corrector, abs=0.15)
    assert slope(2.0, (200, 400, 800)) < 2.5 + corrector


@pytest.mark.parametrize("end", ["sigma_min", "zero"])
def test_the_corrector_costs_nothing(denoise, noise, karras: Make, end: str) -> None:
    for solver in (UniPC(order=3), UniPC(order=3, corrector=False)):
        for n in STEPS:
            calls: list[float] = []

            def counted(x: Tensor, sigma: float, calls: list[float] = calls) -> Tensor:
                calls.append(sigma)
                return denoise(x, sigma)

            grid = karras(n, end)
            solver.integrate(counted, 10 * noise(), grid, NoNoise())
            assert calls == grid.nodes[:-1]
            assert solver.intervals(n) == n


def test_corrector_last_costs_one_evaluation(denoise, noise, karras: Make) -> None:
    """At one interval it is one trapezoidal step: written out here."""
    calls: list[float] = []

    def counted(x: Tensor, sigma: float) -> Tensor:
        calls.append(sigma)
        return denoise(x, sigma)

    solver, grid, x = UniPC(corrector_last=True), karras(1), 10 * noise()
    end = solver.integrate(counted, x, grid, NoNoise())
    ratio = 0.02 / 10.0
    first = denoise(x, 10.0)
    second = denoise(ratio * x + (1 - ratio) * first, 0.02)
    torch.testing.assert_close(end, ratio * x + (1 - ratio) * (first + second) / 2, rtol=1e-12, atol=1e-14)
    assert calls == grid.nodes
    assert solver.intervals(2) == 1
    with pytest.raises(Unsupported, match="at least 2"):
        solver.intervals(1)
    with pytest.raises(Unsupported, match="ends above 0"):
        solver.integrate(denoise, x, karras(2, "zero"), NoNoise())


def test_a_constant_prediction_is_followed_exactly(uneven: Make) -> None:
    x, target = torch.full((3, 2), 7.0, dtype=torch.float64), torch.full((3, 2), 0.25, dtype=torch.float64)
    expected = target + 0.05 / 5.0 * (x - target)
    for order in (1, 2, 3):
        for variant in ("bh1", "bh2"):
            end = UniPC(order=order, variant=variant).integrate(lambda x, _: target, x, uneven(7), NoNoise())
            torch.testing.assert_close(end, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("spec", ["order=0", "variant=bh3", "corrector=maybe", "lower_final=-1", "eta=1"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"unipc[{spec}]")
