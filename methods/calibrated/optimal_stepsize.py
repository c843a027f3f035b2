r"""Optimal stepsize: the K nodes of a fine grid along which Euler's method stays closest to its own fine trajectory.

A teacher trajectory ``y_0, ..., y_N`` is computed by Euler's method on N intervals from common noise. Dynamic
programming finds, for every number of steps k and every node j, the way to reach j whose state is nearest to the
teacher's:

    z_k[j]    = D(z_{k-1}[i]) + (sigma_j / sigma_i) (z_{k-1}[i] - D(z_{k-1}[i])),  D at sigma_i
    cost_k[j] = min over i < j of mean (z_k[j] - y_j)^2,  the state of the best i is kept

and follows the parents back from ``cost_K[N]``. Pei, Hu and Gu 2025, "Optimal Stepsize for Diffusion Sampling", arXiv
2503.21774, Algorithm 1. A state that is kept at j is not the one that later steps would prefer: the search is a
heuristic unless K = 1 or K = N.

``aggregate`` is ``median`` (a schedule per image, then the (lower) median of every step over images, as in the
authors' code) or ``shared`` (one schedule from the cost averaged over images). Euler steps in the flow coordinates of
the paper and in sigma are the same steps, and at a given node the two costs differ by a factor, so the schedules are
the same.

Departures from the authors' code: the first step starts at the noise (theirs may start at any node with the noise as
its state); paths have exactly K steps (theirs may have fewer, padded by repeats); the fine grid is Karras', not
uniform in flow time, and has 100 intervals, not 200.
"""

from __future__ import annotations

import itertools
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, FitTask, Grid, Info, Method, Paper, Problem, Unsupported

INFO = Info(
    summary="A schedule searched by dynamic programming on the teacher's own fine Euler trajectory.",
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


def euler_trajectory(denoise: Denoiser, x: Tensor, nodes: list[float]) -> Tensor:
    """(N + 1, B, ...): the states of Euler's method at every node, from x (B, ...) at the first."""
    states = [x]
    for sigma_s, sigma_t in itertools.pairwise(nodes):
        states.append(torch.lerp(denoise(states[-1], sigma_s), states[-1], sigma_t / sigma_s))
    return torch.stack(states)


def _follow(parents: list[Tensor], last: int) -> Tensor:
    """(K + 1, P): node indices of each path, from the start (0) to ``last``."""
    at = torch.full_like(parents[0][0], last)
    path = [at]
    for parent in reversed(parents):  # parent (N + 1, P)
        at = parent.gather(0, at[None])[0]
        path.append(at)
    return torch.stack(path[::-1])


def search(
    denoise: Denoiser, trajectory: Tensor, nodes: list[float], steps: int, shared: bool = False
) -> tuple[Tensor, Tensor]:
    """Dynamic programming over the nodes of a teacher trajectory.

    Args:
        denoise: the teacher, bound to the trajectory's B images.
        trajectory: (N + 1, B, ...) teacher states.
        nodes: the N + 1 noise levels.
        steps: K, from 1 to N.
        shared: one path for all images, by the cost averaged over them.

    Returns:
        ``(path (K + 1, P) int64, cost (P,) float64)`` with P = 1 if shared, else B.
    """
    last, images = len(nodes) - 1, trajectory.shape[1]
    paths = 1 if shared else images
    levels = torch.tensor(nodes, dtype=trajectory.dtype, device=trajectory.device)
    levels = levels.view(-1, *[1] * (trajectory.ndim - 1))  # (N + 1, 1, ..., 1)
    state, parents = trajectory, []  # only node 0 of the first state is read
    for step in range(1, steps + 1):
        cost = trajectory.new_full((last + 1, paths), torch.inf, dtype=torch.float64)
        parent = torch.zeros(last + 1, paths, dtype=torch.int64, device=trajectory.device)
        reached = torch.zeros_like(trajectory)
        final = last - (steps - step)  # beyond it, too few nodes are left
        for i in range(step - 1, final if step > 1 else 1):
            x0_hat = denoise(state[i], nodes[i])
            to = slice(last if step == steps else i + 1, final + 1)
            jump = x0_hat + levels[to] / nodes[i] * (state[i] - x0_hat)  # (J, B, ...)
            square = (jump - trajectory[to]).double().square().flatten(2).mean(2)  # (J, B)
            square = square.mean(1, keepdim=True) if shared else square
            better = square < cost[to]
            cost[to] = torch.where(better, square, cost[to])
            parent[to] = parent[to].masked_fill(better, i)
            kept = better.expand(-1, images).reshape(-1, images, *[1] * (trajectory.ndim - 2))
            reached[to] = torch.where(kept, jump, reached[to])
        state = reached
        parents.append(parent)
    return _follow(parents, last), cost[last]


class OptimalStepsize(Method):
    """A fitted schedule, integrated by a solver that makes one step per evaluation.

    Attributes:
        solver: spec of the solver that integrates along the schedule; the search itself is for Euler's method.
        teacher_grid: spec of the fine grid.
        teacher_steps: N, its number of intervals.
        images: how many trajectories the search averages over.
        aggregate: ``median`` over a schedule per image, or ``shared`` for one schedule by the mean cost.
    """

    sampling_only: ClassVar[frozenset[str]] = frozenset({"solver"})

    solver: str = "ddim"
    teacher_grid: str = "karras"
    teacher_steps: int = Field(default=100, ge=1, le=2000)
    images: int = Field(default=32, ge=1)
    aggregate: Literal["median", "shared"] = "median"

    def artifact_name(self, nfe: int) -> str:
        return f"nfe{nfe}"

    @torch.no_grad()
    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        if nfe > self.teacher_steps:
            raise Unsupported(f"{nfe} steps cannot be chosen from teacher_steps={self.teacher_steps}")
        batch = task.noise(self.images)
        sigma = task.grid(self.teacher_grid, self.teacher_steps).sigma
        nodes = sigma.tolist()
        task.progress(0, 2, "teacher trajectory")
        trajectory = euler_trajectory(batch.denoise, batch.x, nodes)
        task.progress(1, 2, "dynamic programming")
        path, _ = search(batch.denoise, trajectory, nodes, nfe, self.aggregate == "shared")
        # every path increases strictly in its step, so the lower median does as well
        return {"sigma": sigma[path.cpu().median(dim=1).values]}

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if "sigma" not in problem.artifact:
            raise Unsupported(f"no schedule is fitted for nfe={nfe}; run bench fit with --nfe {nfe}")
        solver = problem.solver(self.solver)
        if solver.intervals(nfe) != nfe:
            raise Unsupported(f"{self.solver} makes {solver.intervals(nfe)} steps of {nfe} evaluations, not {nfe}")
        sigma = problem.artifact["sigma"].to("cpu", torch.float64)
        return solver.integrate(problem.denoise, problem.x, Grid(sigma, problem.process), problem.noise)
