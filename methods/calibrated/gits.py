r"""GITS: the K levels between which Euler steps leave a fine teacher trajectory least, by dynamic programming.

A teacher trajectory ``x_0, ..., x_N`` is computed from common noise. With ``d_i = (x_i - D(x_i, sigma_i)) / sigma_i``
every jump along it has a cost, a mean over images, and a schedule the discounted sum of those of its jumps:

    y_ij = x_i + (sigma_j - sigma_i) d_i
    c_ij = mean |y_ij - x_j|_1 (l1),  mean |y_ij - x_j|_2 (l2),  or mean (dev(y_ij) - dev(x_j)) (dev)
    V_1[i] = c_iN,  V_k[i] = min over j > i of c_ij + coeff V_{k-1}[j];  the schedule is the minimiser of V_K[0]

``dev(y)`` is the distance of y from the straight line through ``x_0`` and ``x_N``: trajectories are nearly plane curves
of one shape, so that the deviation tells where they bend. ``coeff`` above 1 makes up for errors that later jumps add.
Chen, Zhou, Wang, Shen and Lyu 2024, "On the Trajectory Regularity of ODE-based Diffusion Sampling", arXiv 2405.11326
(GITS). Defaults are the authors' (61 levels, ipndm as teacher, 256 images).

A solver with an analytical first step has one step more than evaluations (``ipndm[afs=true]``). As in the authors'
code, its first level is then inserted before the others: the one with which its samples are nearest to the teacher's.

Departure: trajectory and schedules end in 0, not at ``sigma_min``; ``teacher_grid=karras[end=sigma_min]`` is theirs.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.api import FitBatch, FitTask, Grid, Info, Paper, Solver, Unsupported
from bench.probe import evaluations, same_noise
from bench.schedule import Schedule

INFO = Info(
    summary="A schedule found by dynamic programming on the costs of Euler jumps along a fine trajectory.",
    family="calibrated",
    papers=(
        Paper(
            title="On the Trajectory Regularity of ODE-based Diffusion Sampling",
            authors="Defang Chen and Zhenyu Zhou and Can Wang and Chunhua Shen and Siwei Lyu",
            year=2024,
            arxiv="2405.11326",
            equation="GITS",
            code="zju-pi/diff-sampler",
        ),
    ),
    requires=("artifact",),
)

Metric = Literal["dev", "l1", "l2"]


def follow(solver: Solver, batch: FitBatch, grid: Grid) -> tuple[Tensor, Tensor]:
    """States (N + 1, B, d) of a solver at every level, and its predictions (N, B, d) there."""
    states, predictions = [], []

    def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
        states.append(x.flatten(1).clone())
        prediction = batch.denoise(x, sigma)
        predictions.append(prediction.flatten(1).clone())  # solvers may work in place
        return prediction

    end = solver.integrate(denoise, batch.x, grid, same_noise(batch.x))
    return torch.stack([*states, end.flatten(1)]), torch.stack(predictions)


def deviation(y: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Distance (..., B) of y (..., B, d) from the line through start and end (B, d)."""
    along = torch.nn.functional.normalize(end - start, dim=-1)
    off: Tensor = (end - y) - ((end - y) * along).sum(-1, keepdim=True) * along
    return off.square().sum(-1).sqrt()


def costs(states: Tensor, predictions: Tensor, sigma: Tensor, metric: Metric) -> Tensor:
    """c_ij (N + 1, N + 1) float64, infinite unless j > i."""
    states, predictions = states.double(), predictions.double()
    found = torch.full((len(sigma), len(sigma)), torch.inf, dtype=torch.float64)
    for i in range(len(sigma) - 1):
        later = states[i + 1 :]
        ratio = (sigma[i + 1 :] / sigma[i]).view(-1, 1, 1)
        jump = predictions[i] + ratio * (states[i] - predictions[i])  # (N - i, B, d)
        if metric == "dev":
            cost = deviation(jump, states[0], states[-1]) - deviation(later, states[0], states[-1])
        else:
            cost = torch.linalg.vector_norm(jump - later, ord=1 if metric == "l1" else 2, dim=-1)
        found[i, i + 1 :] = cost.mean(-1)
    return found


def cheapest(cost: Tensor, steps: int, coeff: float) -> list[int]:
    """The ``steps + 1`` nodes, from 0 to the last, of the path with the least discounted cost."""
    value, choices = cost[:, -1], []
    for _ in range(steps - 1):
        value, choice = (cost + coeff * value).min(dim=1)
        choices.append(choice)
    path = [0]
    for choice in reversed(choices):
        path.append(int(choice[path[-1]]))
    return [*path, len(cost) - 1]


class GITS(Schedule):
    """The fitted schedule.

    Attributes:
        solver, sampler, teacher_grid: see ``bench.schedule``; the costs are those of Euler steps whatever the solver.
        teacher: spec of the solver of the fine trajectory, one evaluation per step.
        teacher_steps: N, the number of its intervals.
        images: how many trajectories the costs are means over.
        metric: of the distance from the trajectory.
        coeff: weight of all later costs against the first.
    """

    solver: str = "ipndm"
    teacher: str = "ipndm"
    teacher_steps: int = Field(default=60, ge=1, le=1000)
    images: int = Field(default=256, ge=1)
    metric: Metric = "dev"
    coeff: float = Field(default=1.15, gt=0)

    @torch.no_grad()
    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        steps, solver, teacher = self.steps(task, nfe), task.solver(self.solver), task.solver(self.teacher)
        if steps > self.teacher_steps:
            raise Unsupported(f"{steps} steps cannot be chosen from teacher_steps={self.teacher_steps}")
        grid = task.grid(self.teacher_grid, self.teacher_steps)
        if evaluations(teacher, grid) != self.teacher_steps:
            raise Unsupported(f"{self.teacher} does not make one evaluation per step, as the teacher must")
        batch = task.noise(self.images)
        task.progress(0, 2, "teacher trajectory")
        states, predictions = follow(teacher, batch, grid)
        task.progress(1, 2, "costs")
        cost = costs(states, predictions, grid.sigma, self.metric)
        inserted = int(getattr(solver, "afs", False))
        path = cheapest(cost, steps - inserted, self.coeff)
        if inserted:
            path = _with_first(path, solver, batch, grid, states[-1])
        return {"sigma": grid.sigma[path]}


def _with_first(path: list[int], solver: Solver, batch: FitBatch, grid: Grid, end: Tensor) -> list[int]:
    """The path with the node before its first whose samples are nearest to the teacher's (B, d)."""
    paths = [[0, first, *path[1:]] for first in range(1, path[1])]
    if not paths:
        raise Unsupported("no level is left for the analytical first step; use more teacher_steps")
    distance = []
    for tried in paths:
        levels = Grid(grid.sigma[tried], grid.process)
        samples = solver.integrate(batch.denoise, batch.x, levels, same_noise(batch.x))
        distance.append(float((samples.flatten(1) - end).norm(dim=-1).mean()))
    return paths[distance.index(min(distance))]
