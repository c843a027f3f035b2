r"""Bespoke solver: a Runge-Kutta rule along a learned change of time and scale.

In flow coordinates (``bench.flow``: y, t from 0 to 1, velocity u) a change of time t_r and scale s_r, r in [0, 1],
makes of the path y(t) the path ``s_r y(t_r)``, which follows the field

    f(r, z) = (s'_r / s_r) z + t'_r s_r u(t_r, z / s_r)

A base rule makes n steps ``h = 1/n`` of it and divides by s at the end. The numbers t, s, t', s' at all stages are
learned, 4n - 1 of them for rk1 (Euler) and 8n - 1 for rk2 (midpoint), with ``t_0 = 0, t_1 = 1, s_0 = 1``:

    rk1   y_{i+1} = ((s_i + h s'_i) y_i + h t'_i s_i u(t_i, y_i)) / s_{i+1}
    loss  E sum_i M_{i+1} |y(t_{i+1}) - step_i(y(t_i))|,  M_i = prod_{j >= i} L_j,  |.| root mean square, y(t) the path
    L_i   (s_i / s_{i+1}) (1 + h sum_j b_j l_j),  l_j = (|s'| / s + t' L_u) (1 + h c_j l_{j-1}) at stage j

Shaul, Perez, Chen, Thabet, Pumarola and Lipman 2023, "Bespoke Solvers for Generative Flow Models", arXiv 2310.19075,
Algorithms 1 and 2. The loss bounds the error at the end if ``L_u`` is a Lipschitz constant of u; here it is 1, and
the gradient of ``M_i`` is taken too. Fitting starts from the base rule itself.

Departures: rk3 (Heun's third-order rule) beyond the paper: any rule serves that has no stage at the end of its step,
where the last one would be asked for at sigma = 0. A path is Heun's solution on a fine grid with cubic Hermite
interpolation, whose derivative is the gradient in ``t_i`` (the paper solves adaptively and linearises around ``t_i``);
few iterations of Adam with a large, decaying rate.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from bench.api import FitTask, Info, Method, Paper, Problem, Unsupported
from bench.flow import Flow, Path
from bench.scale_time import RULES, Base, steps, transform

INFO = Info(
    summary="Runge-Kutta steps along a change of time and scale learned from the teacher's own paths.",
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
        raise Unsupported("the teacher has no gradient in sigma, which later stages need; use bespoke[base=rk1]")


class Bespoke(Method):
    """The fitted solver.

    Attributes:
        base: ``rk1`` (Euler, one evaluation per step), ``rk2`` (midpoint) or ``rk3`` (Heun's third-order rule).
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

    @property
    def stages(self) -> int:
        """Evaluations of one step."""
        return len(RULES[self.base])

    def _check(self, nfe: int) -> None:
        if over := nfe % self.stages:
            most = nfe - over + self.stages
            raise Unsupported(f"{self.base} makes {self.stages} evaluations per step; use nfe {most} or base=rk1")

    def artifact_name(self, nfe: int) -> str:
        return "" if nfe % self.stages else f"nfe{nfe}"  # sampling then says which budgets there are

    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        self._check(nfe)
        sigma = task.grid("karras", self.path_steps).sigma
        pairs = []
        for _ in range(self.batches):
            batch = task.noise(self.batch)
            flow = Flow(batch.denoise, task.sigma_max)
            if self.stages > 1:
                _require_gradient(flow, batch.x)
            pairs.append((flow, Path.solve(flow, batch.x, sigma)))
        raw = torch.zeros(4, nfe, dtype=torch.float64, requires_grad=True)
        adam = torch.optim.Adam([raw], lr=self.rate)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(self.iterations, 1))
        for i in range(self.iterations):
            flow, path = pairs[i % len(pairs)]
            adam.zero_grad()
            value = loss(raw, flow, path, self.stages)
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
        for step in steps(**parts, stages=self.stages):
            y = step(flow, y, flow.velocity(step.start.t, y))
        return y
