"""What a verdict says of somebody else's code is measured here, where the case itself does not show it."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from bench.grids import make_grid
from bench.parity.base import Case, Setup, cases, ours, theirs
from bench.parity.cases.dpm_solver_pp import _own_karras
from bench.parity.external import azula, diffusers
from bench.process import EDM
from bench.rng import SampleNoise
from bench.suites.mixture import mixture


def setup(n: int, end: str = "sigma_min", sigma_min: float = 0.1) -> Setup:
    noise = SampleNoise(("verdicts", 0, "initial"), range(8), (2,), torch.float64)
    grid = make_grid(f"karras[end={end}]", n, sigma_min, 10.0, EDM())
    return Setup(mixture("mixture-2d").denoise, 10 * noise.normal(), grid, n, noise)


def one(module: str, against: str, what: str) -> Case:
    (found,) = [case for case in cases(module) if case.against == against and what in case.what]
    return found


@pytest.mark.parametrize(("name", "slope"), [("REABSampler", 1), ("zEABSampler", 2), ("xEABSampler", 2)])
def test_azula_reab_is_of_first_order(name: str, slope: int) -> None:
    pytest.importorskip("azula")
    ends = [azula(setup(n), name, order=2) for n in (128, 256, 512)]
    measured = math.log2(float((ends[0] - ends[1]).norm() / (ends[1] - ends[2]).norm()))
    assert measured == pytest.approx(slope, abs=0.15)


def test_azula_reab_is_wrong_by_one_noise_level() -> None:
    """One step written out with sigma_t, as it is there, is theirs; with sigma_s it is Euler's method in the angle."""
    pytest.importorskip("azula")
    problem = setup(1, sigma_min=2.0)
    t, s = problem.grid.nodes
    x = problem.x / math.hypot(1, t)
    x0_hat = problem.denoise(problem.x, t)
    velocity = (problem.x / (1 + t * t) - x0_hat) * math.hypot(1, t) / t
    turned = (math.atan(s) - math.atan(t)) * velocity
    alpha_s, sigma_t = 1 / math.hypot(1, s), t / math.hypot(1, t)
    written = (x + math.hypot(alpha_s, sigma_t) * turned) * math.hypot(1, s)
    right = (x + turned) * math.hypot(1, s)
    found = azula(problem, "REABSampler", order=1)
    assert float((found - written).abs().max()) < 1e-4 < float((found - right).abs().max())


@pytest.mark.parametrize("n", [2, 5, 14, 20])
def test_diffusers_wastes_the_last_evaluation_on_its_karras_grid(n: int) -> None:
    """And the lower order at the end, which falls on the step of length 0."""
    pytest.importorskip("diffusers")
    case = one("dpm_solver_pp", "diffusers", "its own grid")
    full = dataclasses.replace(case, solver=case.solver.replace("lower_final=15,", ""))
    torch.testing.assert_close(ours(full, n - 1), theirs(case, n), rtol=0, atol=1e-5)


def test_diffusers_order_3_is_nan_on_its_karras_grid() -> None:
    pytest.importorskip("diffusers")
    assert torch.isfinite(_own_karras(setup(14), solver_order=3)).all()
    assert torch.isnan(_own_karras(setup(15), solver_order=3)).any()


def test_diffusers_bh1_is_nan_at_zero() -> None:
    pytest.importorskip("diffusers")
    for variant, finite in (("bh2", True), ("bh1", False)):
        found = diffusers(setup(5, "zero"), "UniPCMultistepScheduler", solver_type=variant, final_sigmas_type="zero")
        assert bool(torch.isfinite(found).all()) == finite
