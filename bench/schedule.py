"""What fitted schedules share: a grid as the artifact, and any registered solver to integrate along it.

A schedule is searched for one solver and one budget (``solver``), since the best levels of one are not those of
another; ``sampler`` runs a different solver on the same levels without a new search.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import field_validator
from torch import Tensor

from bench.api import Denoiser, FitTask, Method, Problem, Solver, Unsupported
from bench.grids import Grid, check_grid
from bench.probe import PROBE, evaluations, grid_of, same_noise, single_step
from bench.process import Process

Jump = Callable[[Tensor, float, list[float]], Tensor]
"""From a state (B, ...) at a level, one step to each of J lower levels: (J, B, ...)."""


def euler(denoise: Denoiser) -> Jump:
    """Euler's steps: one evaluation for all levels."""

    def jump(x: Tensor, sigma: float, levels: list[float]) -> Tensor:
        x0_hat = denoise(x, sigma)
        ratio = torch.tensor(levels, dtype=x.dtype, device=x.device).view(-1, *[1] * x.ndim) / sigma
        return x0_hat + ratio * (x - x0_hat)

    return jump


def jumps(solver: Solver, denoise: Denoiser, process: Process) -> Jump:
    """The steps of a deterministic single-step solver, Euler's for any other one.

    A single step of one evaluation is Euler's. The evaluation at x, with which all steps begin, is made once.
    """
    if not single_step(solver) or evaluations(solver, grid_of(PROBE, process)) < len(PROBE):
        return euler(denoise)

    def jump(x: Tensor, sigma: float, levels: list[float]) -> Tensor:
        first = denoise(x, sigma)

        given, at = x, sigma

        def known(x: Tensor, sigma: float | Tensor) -> Tensor:
            return first.clone() if x is given and float(sigma) == at else denoise(x, sigma)

        ends = (solver.integrate(known, x, grid_of([sigma, level], process), same_noise(x)) for level in levels)
        return torch.stack(list(ends))

    return jump


def trajectory(jump: Jump, x: Tensor, nodes: list[float]) -> Tensor:
    """(N + 1, B, ...): the states at every node, from x (B, ...) at the first."""
    states = [x]
    for sigma_s, sigma_t in itertools.pairwise(nodes):
        states.append(jump(states[-1], sigma_s, [sigma_t])[0])
    return torch.stack(states)


class Schedule(Method):
    """A fitted schedule.

    Attributes:
        solver: spec of the solver the schedule is searched for.
        sampler: spec of the solver that integrates along it; empty for the same one.
        teacher_grid: spec of the levels a schedule is chosen from, or starts from; it ends where that grid ends.
    """

    sampling_only: ClassVar[frozenset[str]] = frozenset({"sampler"})

    solver: str = "ddim"
    sampler: str = ""
    teacher_grid: str = "karras"

    @field_validator("teacher_grid")
    @classmethod
    def _known_teacher_grid(cls, spec: str) -> str:
        check_grid(spec)
        return spec

    def artifact_name(self, nfe: int) -> str:
        return f"nfe{nfe}"

    def steps(self, at: Problem | FitTask, nfe: int) -> int:
        """How many steps of ``solver`` use exactly ``nfe`` evaluations.

        Raises:
            Unsupported: no number of steps does.
        """
        solver = at.solver(self.solver)
        count = solver.intervals(nfe)
        made = evaluations(solver, at.grid(self.teacher_grid, count))
        if made != nfe:
            raise Unsupported(f"{self.solver} makes {made} evaluations on {count} steps, not {nfe}; use nfe {made}")
        return count

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if "sigma" not in problem.artifact:
            self.steps(problem, nfe)  # a budget that cannot be fitted says so
            raise Unsupported(f"no schedule is fitted for nfe={nfe}; run bench fit with --nfe {nfe}")
        spec = self.sampler or self.solver
        solver = problem.solver(spec)
        grid = Grid(problem.artifact["sigma"].to("cpu", torch.float64), problem.process)
        made = evaluations(solver, grid)
        if made != nfe:
            raise Unsupported(f"{spec} makes {made} evaluations on the {len(grid) - 1} steps fitted for nfe={nfe}")
        return solver.integrate(problem.denoise, problem.x, grid, problem.noise)
