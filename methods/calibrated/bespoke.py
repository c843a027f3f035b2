r"""Bespoke solver: one- or two-stage Runge-Kutta along a learned change of time and scale.

In flow coordinates (``bench.flow``: y, t from 0 to 1, velocity u) a solver of n steps ``h = 1/n`` has nodes ``t_k``,
scales ``s_k`` (``s_0 = 1``) and their slopes ``t'_k``, ``s'_k``, for rk2 also at half steps, m = i + 1/2:

    rk1   y_{i+1} = ((s_i + h s'_i) y_i + h t'_i s_i u(t_i, y_i)) / s_{i+1}
    rk2   z       = (s_i + h/2 s'_i) y_i + h/2 t'_i s_i u(t_i, y_i)
          y_{i+1} = (s_i y_i + h ((s'_m / s_m) z + t'_m s_m u(t_m, z / s_m))) / s_{i+1}

    loss  E sum_i M_{i+1} |y(t_{i+1}) - step_i(y(t_i))|,  M_i = prod_{j >= i} L_j,  |.| root mean square, y(t) the path
    L_i   rk1: (s_i / s_{i+1}) (1 + h l_i)   rk2: (s_i / s_{i+1}) (1 + h l_m (1 + h/2 l_i)),  l = |s'| / s + t' L_u

Shaul, Perez, Chen, Thabet, Pumarola and Lipman 2023, "Bespoke Solvers for Generative Flow Models", arXiv 2310.19075,
Algorithms 1 and 2. The loss bounds the error at the end if ``L_u`` is a Lipschitz constant of u; here it is 1, and
the gradient of ``M_i`` is taken too. Fitting starts from the base solver, ``t_k = k / K, t' = s = 1, s' = 0``, and
learns 4n - 1 (rk1) or 8n - 1 (rk2) numbers. rk2 makes two evaluations per step, so its budgets are even.

Departures: a path is Heun's solution on a fine grid with cubic Hermite interpolation, whose derivative is the
gradient in ``t_i`` (the paper solves adaptively and linearises around ``t_i``); few iterations of Adam with a large,
decaying rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.api import FitTask, Info, Method, Paper, Problem, Unsupported
from bench.flow import Flow, Path, Scalar

INFO = Info(
    summary="Euler or midpoint steps along a change of time and scale learned from the teacher's own paths.",
    family="calibrated",
    papers=(
        Paper(
            title="Bespoke Solvers for Generative Flow Models",
            authors="Neta Shaul and Juan Perez and Ricky T. Q. Chen and Ali Thabet and Albert Pumarola "
            "and Yaron Lipman",
            year=2023,
            arxiv="2310.19075",
            equation="Algorithm 2",
        ),
    ),
    requires=("artifact",),
)

LIPSCHITZ = 1.0
Base = Literal["rk1", "rk2"]
STAGES = {"rk1": 1, "rk2": 2}


@dataclass(frozen=True)
class Node(Generic[Scalar]):
    """t, s and their slopes in r at one node."""

    t: Scalar
    s: Scalar
    dt: Scalar
    ds: Scalar

    @property
    def bound(self) -> Scalar:
        """Lipschitz constant of the transformed field."""
        return abs(self.ds) / self.s + self.dt * LIPSCHITZ


@dataclass(frozen=True)
class Step(Generic[Scalar]):
    """One step of length h: its node, the one in the middle (rk2) and the scale and time at its end."""

    h: float
    start: Node[Scalar]
    middle: Node[Scalar] | None
    t_end: Scalar
    s_end: Scalar

    def __call__(self, flow: Flow, y: Tensor, u: Tensor) -> Tensor:
        """From y to the end, given ``u = u(t_i, y)``; all (B, ...)."""
        a, h = self.start, self.h
        if self.middle is None:
            return (a.s + h * a.ds) / self.s_end * y + h * a.dt * a.s / self.s_end * u
        m = self.middle
        z = (a.s + h / 2 * a.ds) * y + h / 2 * a.s * a.dt * u
        v = flow.velocity(m.t, z / m.s)
        return a.s / self.s_end * y + h / self.s_end * (m.ds / m.s * z + m.dt * m.s * v)

    @property
    def bound(self) -> Scalar:
        """L_i: by how much the step may stretch a difference."""
        if self.middle is None:
            growth = 1 + self.h * self.start.bound
        else:
            growth = 1 + self.h * self.middle.bound * (1 + self.h / 2 * self.start.bound)
        return self.start.s / self.s_end * growth


def transform(raw: Tensor) -> dict[str, Tensor]:
    """t (K + 1,), s (K + 1,), dt (K,), ds (K,) from unconstrained numbers (4, K); zeros are the identity."""
    zero = raw.new_zeros(1)
    rises = raw[0].softmax(0)
    t = torch.cat([zero, rises.cumsum(0)[:-1], zero + 1])
    return {"t": t, "s": torch.cat([zero, raw[1]]).exp(), "dt": raw[2].exp(), "ds": raw[3]}


def steps(t: list[Scalar], s: list[Scalar], dt: list[Scalar], ds: list[Scalar], stages: int) -> Iterator[Step[Scalar]]:
    """The n steps of a transform with K = n stages nodes."""
    nodes = [Node(*values) for values in zip(t[:-1], s[:-1], dt, ds, strict=True)]
    h = stages / len(nodes)
    for k in range(0, len(nodes), stages):
        middle = nodes[k + 1] if stages == 2 else None
        yield Step(h, nodes[k], middle, t[k + stages], s[k + stages])


def loss(raw: Tensor, flow: Flow, path: Path, stages: int) -> Tensor:
    """The bound on the root mean square error, averaged over the paths of a batch; raw (4, K)."""
    parts = {name: list(value.unbind()) for name, value in transform(raw).items()}
    plan = list(steps(**parts, stages=stages))
    total, stretch = raw.new_zeros(()), raw.new_ones(())
    for step in reversed(plan):
        arrived = step(flow, *path.at(step.start.t))
        local = (arrived - path.at(step.t_end)[0]).flatten(1).square().mean(1).sqrt()
        total = total + stretch * local.mean()
        stretch = stretch * step.bound
    return total


def _require_gradient(flow: Flow, x: Tensor) -> None:
    """Times of evaluations away from the path are only learned if the teacher can be differentiated in sigma."""
    sigma = torch.ones((), dtype=torch.float64, requires_grad=True)
    if not flow.denoise(x, sigma).requires_grad:
        raise Unsupported("the teacher has no gradient in sigma, which fitting rk2 needs; use bespoke[base=rk1]")


class Bespoke(Method):
    """The fitted solver.

    Attributes:
        base: ``rk1`` (Euler, one evaluation per step) or ``rk2`` (midpoint, two).
        iterations: of Adam, one batch of paths each; ``rate`` is where its cosine decay starts.
        batches, batch: how many batches of how many paths there are.
        path_steps: intervals of the Karras grid on which paths are solved.
    """

    base: Base = "rk2"
    iterations: int = Field(default=200, ge=0)
    rate: float = Field(default=0.02, gt=0)
    batches: int = Field(default=4, ge=1)
    batch: int = Field(default=16, ge=1)
    path_steps: int = Field(default=64, ge=2)

    def _check(self, nfe: int) -> None:
        if nfe % STAGES[self.base]:
            raise Unsupported(f"rk2 makes two evaluations per step; use nfe {nfe + 1}, or bespoke[base=rk1]")

    def artifact_name(self, nfe: int) -> str:
        return "" if nfe % STAGES[self.base] else f"nfe{nfe}"  # sampling then says which budgets there are

    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        self._check(nfe)
        sigma = task.grid("karras", self.path_steps).sigma
        pairs = []
        for _ in range(self.batches):
            batch = task.noise(self.batch)
            flow = Flow(batch.denoise, task.sigma_max)
            if self.base == "rk2":
                _require_gradient(flow, batch.x)
            pairs.append((flow, Path.solve(flow, batch.x, sigma)))
        raw = torch.zeros(4, nfe, dtype=torch.float64, requires_grad=True)
        adam = torch.optim.Adam([raw], lr=self.rate)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(self.iterations, 1))
        for i in range(self.iterations):
            flow, path = pairs[i % len(pairs)]
            adam.zero_grad()
            value = loss(raw, flow, path, STAGES[self.base])
            torch.autograd.backward(value)
            adam.step()
            decay.step()
            task.progress(i + 1, self.iterations, f"bound {value.item():.4f}")
        return transform(raw.detach())

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        self._check(nfe)
        if "t" not in problem.artifact:
            raise Unsupported(f"no solver is fitted for nfe={nfe}; run bench fit with --nfe {nfe}")
        flow = Flow(problem.denoise, problem.sigma_max)
        parts: dict[str, list[float]] = {name: problem.artifact[name].tolist() for name in ("t", "s", "dt", "ds")}
        y = problem.x * flow.tau(0.0)
        for step in steps(**parts, stages=STAGES[self.base]):
            y = step(flow, y, flow.velocity(step.start.t, y))
        return y
