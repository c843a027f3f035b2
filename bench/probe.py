"""What a search of schedules must know of a solver, found by running it on a state of a few numbers.

How many evaluations it makes, whether its steps depend on nothing but their ends, and its tableau: the weights with
which x and its predictions enter every state. Through the tableau any linear solver can be differentiated, also in its
noise levels, which solvers themselves take as numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.api import Denoiser, Solver, Unsupported
from bench.grids import Grid
from bench.process import EDM, Process
from bench.rng import SampleNoise

PROBE = (8.0, 3.0, 1.0, 0.4)


def same_noise(x: Tensor, seed: int = 0) -> SampleNoise:
    """What stochastic solvers draw while schedules are searched: the same for every schedule; x is (B, ...)."""
    return SampleNoise(("schedule", seed, "method"), range(len(x)), x.shape[1:], x.dtype, x.device)


def grid_of(nodes: Sequence[float], process: Process) -> Grid:
    """A grid from its levels."""
    return Grid(torch.tensor(nodes, dtype=torch.float64), process)


def curved(x: Tensor, sigma: float | Tensor) -> Tensor:
    """A denoiser that is linear neither in x nor in sigma."""
    return 5 * torch.tanh(x) / (1 + torch.as_tensor(sigma, dtype=x.dtype)).view(-1, *[1] * (x.ndim - 1))


def evaluations(solver: Solver, grid: Grid) -> int:
    """How many denoiser calls a solver makes on a grid, counted on a state of one number."""
    made = 0

    def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
        nonlocal made
        made += 1
        return 0.5 * x

    x = torch.full((1, 1), grid.nodes[0], dtype=torch.float64)
    solver.integrate(denoise, x, grid, same_noise(x))
    return made


def single_step(solver: Solver) -> bool:
    """Whether a solver is deterministic and each of its steps depends on nothing but the state and its two levels."""
    x = torch.tensor([[5.0]], dtype=torch.float64)
    whole = solver.integrate(curved, x, grid_of(PROBE, EDM()), same_noise(x))
    for seed, nodes in enumerate(itertools.pairwise(PROBE), 1):
        x = solver.integrate(curved, x, grid_of(nodes, EDM()), same_noise(x, seed))
    return bool(torch.allclose(x, whole, rtol=1e-12, atol=0))


@dataclass(frozen=True)
class Tableau:
    """A solver on one grid, as what it is: every state is a weighted sum of x and the predictions before it.

    Attributes:
        levels: (n,) float64, the noise level of each evaluation.
        weights: (n + 1, n + 1) float64. Row i weighs x (column 0) and the predictions 1 to n in the state of evaluation
            i; the last row those of the result.
    """

    levels: Tensor
    weights: Tensor

    @classmethod
    def probe(cls, solver: Solver, grid: Grid) -> Tableau:
        """The tableau of a solver on a grid.

        Raises:
            Unsupported: the states of this solver are not such sums, or not the same ones in every run.
        """
        made = cls.read(solver, grid, evaluations(solver, grid))
        x = torch.tensor([[0.7, -0.2, 0.05]], dtype=torch.float64) * grid.nodes[0]
        direct = solver.integrate(curved, x, grid, same_noise(x, 1))
        if not torch.allclose(made(curved, x), direct, rtol=1e-8, atol=1e-10):
            raise Unsupported(f"{type(solver).__name__} is not a linear function of its predictions")
        return made

    @classmethod
    def read(cls, solver: Solver, grid: Grid, count: int) -> Tableau:
        """As ``probe``, unchecked: from a run in which x and the ``count`` predictions are unit vectors."""
        unit = torch.eye(count + 1, dtype=torch.float64)
        levels, rows = [], []

        def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
            levels.append(float(torch.as_tensor(sigma, dtype=torch.float64).flatten()[0]))
            rows.append(x[0].clone())
            return unit[None, len(rows)].clone()

        x = unit[:1].clone()  # solvers may work in place on what is theirs
        rows.append(solver.integrate(denoise, x, grid, same_noise(x))[0])
        return cls(torch.tensor(levels, dtype=torch.float64), torch.stack(rows))

    def __call__(self, denoise: Denoiser, x: Tensor) -> Tensor:
        """From x (B, ...) at the first level to the end; differentiable in the tableau and in x."""
        known = [x]
        for row, level in zip(self.weights[:-1], self.levels, strict=True):
            known.append(denoise(_weigh(row, known), level))
        return _weigh(self.weights[-1], known)


def _weigh(row: Tensor, known: Sequence[Tensor]) -> Tensor:
    """``sum_j row[j] known[j]``, (B, ...) in the dtype of the states."""
    return sum(
        (weight.to(value.dtype) * value for weight, value in zip(row, known, strict=False)), known[0].new_zeros(())
    )


def differentiable(solver: Solver, sigma: Tensor, process: Process) -> Tableau:
    """The tableau at levels (K + 1,) float64 that have a gradient, itself with one, by central differences.

    The last level is held where it is. The step is 1e-5 of each level; what it leaves out is of relative size 1e-10.
    """
    nodes = sigma.detach()
    at = Tableau.probe(solver, grid_of(nodes.tolist(), process))
    if not sigma.requires_grad:
        return at
    levels, weights = at.levels, at.weights
    for k in range(len(nodes) - 1):
        step = torch.zeros_like(nodes)
        step[k] = 1e-5 * nodes[k]
        moved = (grid_of((nodes + sign * step).tolist(), process) for sign in (1, -1))
        up, down = (Tableau.read(solver, grid, len(at.levels)) for grid in moved)
        change = (sigma[k] - nodes[k]) / (2 * step[k])
        levels = levels + change * (up.levels - down.levels)
        weights = weights + change * (up.weights - down.weights)
    return Tableau(levels, weights)
