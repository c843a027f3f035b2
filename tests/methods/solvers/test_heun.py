"""Heun against the count of Algorithm 1; other packages are in ``bench.parity``."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

from bench.api import Unsupported
from bench.errors import UsageError
from bench.grids import Grid
from bench.registry import create
from methods.solvers.heun import Heun

Make = Callable[..., Grid]
ENDS = ("sigma_min", "zero", "append")


class NoNoise:
    def normal(self) -> Tensor:
        raise AssertionError("a deterministic solver drew noise")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_intervals_cost_what_they_say(denoise, noise, karras: Make, n: int, end: str) -> None:
    calls: list[float] = []

    def counted(x: Tensor, sigma: float) -> Tensor:
        calls.append(sigma)
        return denoise(x, sigma)

    solver = create("method", f"heun[grid=karras[end={end}]]")
    intervals = n + (end == "append")
    Heun().integrate(counted, 10 * noise(), karras(intervals, end), NoNoise())
    assert solver.intervals(len(calls)) == intervals
    for nfe in (len(calls) - 1, len(calls) + 1):
        if nfe > 0:
            with pytest.raises(Unsupported, match=f"use nfe .*{len(calls)}"):
                solver.intervals(nfe)


def test_a_grid_of_the_user_is_read() -> None:
    assert create("method", "heun[grid=user[sigmas=80/1/0.5]]").intervals(4) == 2
    assert create("method", "heun[grid=user[sigmas=80/1/0]]").intervals(3) == 2
    with pytest.raises(UsageError):
        create("method", "heun[grid=user[sigmas=80/one]]").intervals(3)


def test_an_even_budget_of_2_names_its_neighbours() -> None:
    with pytest.raises(Unsupported, match="use nfe 1 or 3"):
        Heun().intervals(2)
