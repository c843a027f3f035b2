"""The harness's own contract is most of the test; what is special about the method comes after it."""

from __future__ import annotations

import pytest
import torch

from bench.api import Grid, Unsupported
from bench.contract import run_checks
from bench.process import EDM
from bench.rng import SampleNoise
from fewstep_midpoint.midpoint import Midpoint


def test_keeps_the_contract() -> None:
    broken = {outcome.check.name: outcome.message for outcome in run_checks("midpoint") if outcome.status == "failed"}
    assert not broken


def test_one_step_is_exact_where_the_slope_is_linear_in_sigma() -> None:
    # D(x, sigma) = x - sigma (a + b sigma) makes dx/dsigma = a + b sigma, which the midpoint rule integrates exactly
    a, b = 0.3, -0.2
    x = torch.zeros(1, 2, dtype=torch.float64)
    grid = Grid(torch.tensor([2.0, 0.5], dtype=torch.float64), EDM())
    noise = SampleNoise(("none", 0, "method"), [0], (2,))
    found = Midpoint().integrate(lambda x, sigma: x - sigma * (a + b * sigma), x, grid, noise)
    exact = a * (0.5 - 2.0) + b * (0.5**2 - 2.0**2) / 2
    torch.testing.assert_close(found, torch.full_like(x, exact))


@pytest.mark.parametrize("nfe", [1, 3])
def test_an_odd_budget_is_refused_with_an_even_one(nfe: int) -> None:
    with pytest.raises(Unsupported, match=f"use nfe .*{nfe + 1}"):
        Midpoint().intervals(nfe)
