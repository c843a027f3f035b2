r"""D-ODE: one number per evaluation that turns a solver's small steps into the teacher's large ones, by least squares.

A solver sees, instead of the denoiser's outputs ``D_i = D(x_i, sigma_i)`` at its evaluations i,

    O_i = D_i + lambda_i (D_i - D_{i-1}),   i >= 1,   O_0 = D_0

(outputs of successive evaluations are alike, so the optimal direction lies near their span). The numbers are fitted one
after the other, on a batch whose states come from those already fitted. The solver's next state is linear in
``lambda_i``, ``x_{i+1} = a + lambda_i g``, so

    lambda_i = <g, y_{i+1} - a> / <g, g>

for the states y of a teacher, a solver on a grid ``scale`` times as fine, at the noise levels of the states.

Kim, Tang and Yu 2023, "Distilling ODE Solvers of Diffusion Models into Smaller Steps", arXiv 2309.16421, Sec. 4.

Departures: the authors' EDM code adds ``lambda_i (D_i - D_{i-1})`` to the state, for DDIM the same with another unit
of lambda; the fine grid of its teacher meets the coarse one at its ends only, here at every level. a and g are read off
the solver's tableau (``bench.probe``), so any linear solver takes part, multistep ones with outputs O in their history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, FitTask, Info, Method, Paper, Problem, Unsupported
from bench.coefficients import combine
from bench.probe import Tableau
from bench.trajectory import refined, trajectory

INFO = Info(
    summary="One fitted number per evaluation extrapolates the denoiser's output, for any linear solver.",
    family="calibrated",
    papers=(
        Paper(
            title="Distilling ODE Solvers of Diffusion Models into Smaller Steps",
            authors="Sanghwan Kim and Hao Tang and Fisher Yu",
            year=2023,
            arxiv="2309.16421",
            code="kim-sanghwan/D-ODE-Solvers",
        ),
    ),
    requires=("artifact",),
)


def fit_scales(tableau: Tableau, denoise: Denoiser, x: Tensor, targets: Sequence[Tensor]) -> list[float]:
    """lambda_i of each evaluation.

    Args:
        tableau: of the solver on its grid, n evaluations.
        denoise: the teacher; called n times.
        x: (B, ...) states at the first level.
        targets: y_1 .. y_n (B, ...), wanted of the next states.
    """
    scales: list[float] = []
    outputs: list[Tensor] = []
    state, before = x, x
    for i, target in enumerate(targets):
        raw = denoise(state, float(tableau.levels[i]))
        row = tableau.weights[i + 1].tolist()
        rest = combine(x, row[0], row[1 : i + 1], outputs)
        apart = raw - before if i else torch.zeros_like(raw)
        a, g = rest.double() + row[i + 1] * raw, row[i + 1] * apart.double()
        size = float(g.square().sum())
        scales.append(float((g * (target - a)).sum()) / size if size > 0 else 0.0)
        outputs.append(raw.add(apart, alpha=scales[i]))
        state, before = rest.add(outputs[i], alpha=row[i + 1]), raw
    return scales


class DODE(Method):
    """A solver with distilled outputs.

    Attributes:
        solver: spec of a deterministic solver, on its own grid.
        teacher: spec of the solver whose states are wanted, of one evaluation per step.
        scale: how many intervals the teacher makes between two levels of the solver.
        images: how many trajectories the fit averages over.
    """

    solver: str = "ddim"
    teacher: str = "ddim"
    scale: int = Field(default=10, ge=1)
    images: int = Field(default=100, ge=1)

    def artifact_name(self, nfe: int) -> str:
        return f"nfe{nfe}"

    @torch.no_grad()
    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        solver = task.solver(self.solver)
        grid = task.grid(solver.grid, solver.intervals(nfe))
        tableau = Tableau.probe(solver, grid)
        wanted = [*tableau.levels.tolist()[1:], grid.nodes[-1]]
        levels = sorted({*wanted, grid.nodes[0]}, reverse=True)
        batch = task.noise(self.images)
        task.progress(0, 2, "the teacher's trajectory")
        fine = refined(levels, self.scale, task.process)
        states = trajectory(task.solver(self.teacher), batch.denoise, batch.x, fine)
        at = dict(zip(levels, states[:: self.scale], strict=True))
        task.progress(1, 2, "least squares")
        scales = fit_scales(tableau, batch.denoise, batch.x, [at[level] for level in wanted])
        return {"scale": torch.tensor(scales, dtype=torch.float64)}

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if "scale" not in problem.artifact:
            raise Unsupported(f"nothing is fitted for nfe={nfe}; run bench fit with --nfe {nfe}")
        scales = iter(problem.artifact["scale"].tolist())
        before: Tensor | None = None

        def distilled(x: Tensor, sigma: float | Tensor) -> Tensor:
            nonlocal before
            now = problem.denoise(x, sigma)
            older, before = (now if before is None else before), now
            return now.add(now - older, alpha=next(scales))

        return problem.solver(self.solver).sample(replace(problem, denoise=distilled), nfe)
