"""What is found out about a solver by running it: counts, steps that stand alone, and tableaus against closed forms."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from bench.api import Denoiser, Grid, Solver, Unsupported
from bench.probe import PROBE, Tableau, curved, differentiable, evaluations, grid_of, same_noise, single_step
from bench.process import EDM, VPLinear
from bench.rng import SampleNoise
from bench.sampling import make_solver
from bench.suites.mixture import mixture

NODES = [10.0, 4.0, 1.5, 0.3, 0.0]
ODE = ["ddim", "ddim[afs=true]", "heun", "dpm_solver[order=3]", "dpm_solver_pp[order=3]", "ipndm", "deis", "unipc"]


def test_evaluations_are_counted() -> None:
    counts = {"ddim": 4, "ddim[afs=true]": 3, "heun": 7, "dpm_solver[order=3]": 10, "unipc": 4, "ddpm": 4}
    assert {spec: evaluations(make_solver(spec), grid_of(NODES, EDM())) for spec in counts} == counts


@pytest.mark.parametrize(
    ("spec", "single"),
    [
        ("ddim", True),
        ("heun", True),
        ("dpm_solver", True),
        ("dpm_solver_pp[order=1]", True),
        ("dpm_solver_pp", False),
        ("ipndm", False),
        ("ddim[afs=true]", False),  # its first step is another
        ("ddpm", False),  # stochastic
        ("ddim[eta=0.5]", False),
    ],
)
def test_single_steps(spec: str, single: bool) -> None:
    assert single_step(make_solver(spec)) is single


def test_noise_is_the_same_for_every_schedule_and_differs_by_seed_and_sample() -> None:
    x = torch.zeros(3, 2, dtype=torch.float64)
    one, again, other = (same_noise(x, seed).normal() for seed in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other) and not torch.equal(one[0], one[1])
    assert (one.shape, one.dtype) == (x.shape, x.dtype)


def test_the_curved_denoiser_is_of_any_shape() -> None:
    x = torch.linspace(-2, 2, 12, dtype=torch.float64).view(3, 2, 2)
    torch.testing.assert_close(curved(x, 0.5), 5 * x.tanh() / 1.5)
    levels = torch.tensor([0.5, 1.0, 3.0])
    torch.testing.assert_close(curved(x, levels)[2], 5 * x[2].tanh() / 4)


def test_tableau_of_euler() -> None:
    table = Tableau.probe(make_solver("ddim"), grid_of([8.0, 2.0, 0.5], EDM()))
    assert table.levels.tolist() == [8.0, 2.0]
    # x_1 = x / 4 + 3 D_1 / 4,  x_2 = x_1 / 4 + 3 D_2 / 4
    expected = torch.tensor([[1, 0, 0], [1 / 4, 3 / 4, 0], [1 / 16, 3 / 16, 3 / 4]], dtype=torch.float64)
    torch.testing.assert_close(table.weights, expected, rtol=1e-14, atol=0)


def test_levels_are_not_rounded_to_float32() -> None:
    level = 1.0 + 1e-12
    assert Tableau.probe(make_solver("ddim"), grid_of([8.0, level, 0.0], EDM())).levels[1] == level


@pytest.mark.parametrize("spec", ODE)
@pytest.mark.parametrize("shape", [(3, 2), (2, 1, 2, 2)])
def test_tableau_runs_as_the_solver_does(spec: str, shape: tuple[int, ...]) -> None:
    solver, grid = make_solver(spec), grid_of(NODES, VPLinear())
    x = 10 * torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = solver.integrate(curved, x, grid, same_noise(x))
    torch.testing.assert_close(Tableau.probe(solver, grid)(curved, x), expected, rtol=1e-9, atol=1e-10)
    single = Tableau.probe(solver, grid)(curved, x.float())
    assert single.dtype == torch.float32


@pytest.mark.parametrize("spec", ["ddpm", "dpm_solver_pp[threshold=0.5]"])
def test_what_is_not_linear_is_refused(spec: str) -> None:
    class Squares(Solver):
        def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
            return denoise(x, grid.nodes[0]).square()

    for solver in (Squares(), make_solver(spec)):
        with pytest.raises(Unsupported, match="not a linear function"):
            Tableau.probe(solver, grid_of(NODES, EDM()))


@pytest.mark.parametrize("spec", ODE)
def test_gradient_in_the_levels(spec: str) -> None:
    """Against central differences of the solver itself, on a denoiser that depends on sigma."""
    solver, gmm = make_solver(spec), mixture("mixture-2d")
    x = 10 * torch.randn(4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sigma = torch.tensor(NODES, dtype=torch.float64, requires_grad=True)

    def loss(nodes: list[float]) -> float:
        return float(solver.integrate(gmm.denoise, x, grid_of(nodes, EDM()), same_noise(x)).square().sum())

    table = differentiable(solver, sigma, EDM())
    (gradient,) = torch.autograd.grad(table(gmm.denoise, x).square().sum(), sigma)
    for k in range(len(NODES) - 1):
        step = 1e-4 * NODES[k]
        ends = [loss([*NODES[:k], NODES[k] + sign * step, *NODES[k + 1 :]]) for sign in (1, -1)]
        assert float(gradient[k]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-6)
    assert gradient[-1] == 0


def test_without_a_gradient_the_tableau_is_the_plain_one() -> None:
    sigma = torch.tensor(NODES, dtype=torch.float64)
    plain = Tableau.probe(make_solver("heun"), grid_of(NODES, EDM()))
    made = differentiable(make_solver("heun"), sigma, EDM())
    assert torch.equal(made.weights, plain.weights) and torch.equal(made.levels, plain.levels)


def test_the_probe_spans_levels_on_both_sides_of_one() -> None:
    assert len(PROBE) == 4 and all(a > b for a, b in itertools.pairwise(PROBE)) and math.prod(PROBE) > 0
