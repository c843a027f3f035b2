r"""Optimal stepsize: the K nodes of a fine grid along which a solver stays closest to its own fine trajectory.

A teacher trajectory ``y_0, ..., y_N`` is computed by the solver on N intervals from common noise. Dynamic programming
finds, for every number of steps k and every node j, the way to reach j whose state is nearest to the teacher's:

    z_k[j]    = one step of the solver from z_{k-1}[i] at sigma_i to sigma_j
    cost_k[j] = min over i < j of mean (z_k[j] - y_j)^2,  the state of the best i is kept

and follows the parents back from ``cost_K[N]``. Pei, Hu and Gu 2025, "Optimal Stepsize for Diffusion Sampling", arXiv
2503.21774, Algorithm 1, where the step is Euler's, ``D + (sigma_j / sigma_i) (z - D)``. A state that is kept at j is
not the one that later steps would prefer: the search is a heuristic unless K = 1 or K = N.

Any deterministic single-step ``solver`` is searched for with its own steps (``heun``, ``dpm_solver``); a step then
costs evaluations at its own levels, and a search N / 2 times as many as Euler's. A step of a multistep solver depends
on the way it was reached by, which the search does not keep: for these, and for stochastic ones, it stays Euler's.

``aggregate`` is ``median`` (a schedule per image, then the (lower) median of every step over images, as in the
authors' code) or ``shared`` (one schedule from the cost averaged over images). Euler steps in the flow coordinates of
the paper and in sigma are the same steps, and at a given node the two costs differ by a factor, so the schedules are
the same.

Departures from the authors' code: the first step starts at the noise (theirs may start at any node with the noise as
its state); paths have exactly K steps (theirs may have fewer, padded by repeats); the fine grid is Karras', not
uniform in flow time, and has 100 intervals, not 200.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.api import FitTask, Info, Paper, Unsupported
from bench.schedule import Jump, Schedule, jumps, trajectory

INFO = Info(
    summary="A schedule searched by dynamic programming on the solver's own fine trajectory.",
    family="calibrated",
    papers=(
        Paper(
            title="Optimal Stepsize for Diffusion Sampling",
            authors="Jianning Pei and Han Hu and Shuyang Gu",
            year=2025,
            arxiv="2503.21774",
            equation="Algorithm 1",
            code="bebebe666/OptimalSteps",
        ),
    ),
    requires=("artifact",),
)


def _follow(parents: list[Tensor], last: int) -> Tensor:
    """(K + 1, P): node indices of each path, from the start (0) to ``last``."""
    at = torch.full_like(parents[0][0], last)
    path = [at]
    for parent in reversed(parents):  # parent (N + 1, P)
        at = parent.gather(0, at[None])[0]
        path.append(at)
    return torch.stack(path[::-1])


def search(jump: Jump, teacher: Tensor, nodes: list[float], steps: int, shared: bool = False) -> tuple[Tensor, Tensor]:
    """Dynamic programming over the nodes of a teacher trajectory.

    Args:
        jump: the steps of the solver, bound to the trajectory's B images.
        teacher: (N + 1, B, ...) states at the N + 1 noise levels ``nodes``.
        steps: K, from 1 to N.
        shared: one path for all images, by the cost averaged over them.

    Returns:
        ``(path (K + 1, P) int64, cost (P,) float64)`` with P = 1 if shared, else B.
    """
    last, images = len(nodes) - 1, teacher.shape[1]
    paths = 1 if shared else images
    state, parents = teacher, []  # only node 0 of the first state is read
    for step in range(1, steps + 1):
        cost = teacher.new_full((last + 1, paths), torch.inf, dtype=torch.float64)
        parent = torch.zeros(last + 1, paths, dtype=torch.int64, device=teacher.device)
        reached = torch.zeros_like(teacher)
        final = last - (steps - step)  # beyond it, too few nodes are left
        for i in range(step - 1, final if step > 1 else 1):
            to = slice(last if step == steps else i + 1, final + 1)
            tried = jump(state[i], nodes[i], nodes[to])  # (J, B, ...)
            square = (tried - teacher[to]).double().square().flatten(2).mean(2)  # (J, B)
            square = square.mean(1, keepdim=True) if shared else square
            better = square < cost[to]
            cost[to] = torch.where(better, square, cost[to])
            parent[to] = parent[to].masked_fill(better, i)
            kept = better.expand(-1, images).reshape(-1, images, *[1] * (teacher.ndim - 2))
            reached[to] = torch.where(kept, tried, reached[to])
        state = reached
        parents.append(parent)
    return _follow(parents, last), cost[last]


class OptimalStepsize(Schedule):
    """A fitted schedule.

    Attributes:
        solver, sampler, teacher_grid: see ``bench.schedule``.
        teacher_steps: N, the number of intervals of the fine grid.
        images: how many trajectories the search averages over.
        aggregate: ``median`` over a schedule per image, or ``shared`` for one schedule by the mean cost.
    """

    teacher_steps: int = Field(default=100, ge=1, le=2000)
    images: int = Field(default=32, ge=1)
    aggregate: Literal["median", "shared"] = "median"

    @torch.no_grad()
    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        steps, solver = self.steps(task, nfe), task.solver(self.solver)
        if steps > self.teacher_steps:
            raise Unsupported(f"{steps} steps cannot be chosen from teacher_steps={self.teacher_steps}")
        batch = task.noise(self.images)
        grid = task.grid(self.teacher_grid, self.teacher_steps)
        jump = jumps(solver, batch.denoise, task.process)
        task.progress(0, 2, "teacher trajectory")
        teacher = trajectory(jump, batch.x, grid.nodes)
        task.progress(1, 2, "dynamic programming")
        path, _ = search(jump, teacher, grid.nodes, steps, self.aggregate == "shared")
        # every path increases strictly in its step, so the lower median does as well
        return {"sigma": grid.sigma[path.cpu().median(dim=1).values]}
