"""Levels met exactly, states as the solver makes them."""

from __future__ import annotations

import pytest
import torch

from bench.api import Unsupported
from bench.grids import make_grid
from bench.process import EDM
from bench.registry import create
from bench.suites.mixture import Mixture
from bench.trajectory import refined, trajectory


def test_fine_grids_meet_the_levels() -> None:
    levels = [80.0, 3.0, 0.5, 0.0]
    grid = refined(levels, 4, EDM())
    assert len(grid) == 13 and grid.nodes[::4] == levels
    assert grid.nodes[2] == pytest.approx(((80 ** (1 / 7) + 3 ** (1 / 7)) / 2) ** 7)
    assert grid.nodes[9] == pytest.approx((0.75 * 0.5 ** (1 / 7)) ** 7)


def test_trajectory_is_the_solvers_own() -> None:
    grid, solver, gmm = make_grid("karras", 3, 0.002, 80.0, EDM()), create("method", "ddim"), Mixture().gmm
    x = torch.ones(2, 2, dtype=torch.float64)
    states = trajectory(solver, gmm.denoise, x, grid)
    assert torch.equal(states[0], x) and len(states) == 4
    for state, after, (sigma_s, sigma_t) in zip(states, states[1:], grid.steps(), strict=False):
        x0 = gmm.denoise(state, sigma_s)
        torch.testing.assert_close(after, x0 + sigma_t / sigma_s * (state - x0))
    with pytest.raises(Unsupported, match="one evaluation per step"):
        trajectory(create("method", "heun"), gmm.denoise, x, grid)
