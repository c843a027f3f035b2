r"""DPM-Solver-v3: a multistep exponential integrator whose linear part and parametrisation are fitted to the teacher.

With ``lambda = -log sigma`` and coefficients ``l, s, b`` of one number per coordinate and level, the flow ``dx /
dlambda = D - x`` is ``-l x - f``, ``f = (1 - l) x - D``, and a step from lambda_s to lambda_t is exactly

    x_t = e^{-P} (x_s - int E R dlambda - int E g dlambda),   g = e^{-Q} f - R
    P, Q, R, E:  integrals of l, of s, of e^{-Q} b from lambda_s, and e^{P + Q}

g is replaced by the polynomial through its last ``order`` values. The coefficients minimise its first derivative over
data, ``l = E diag(d(x - D)/dx)``, ``f' ~ s f + b`` by least squares: the empirical model statistics. A corrector goes
over the last step again with the new f, keeps that f and moves x, at no evaluation.

Papers: Zheng, Lu, Chen and Zhu 2023, arXiv 2310.13268, Algorithms 1 and 2, Eq. 4-16; Eq. 58-62 for the statistics.
Data of a diagonal Gaussian is solved exactly in one step, up to what the fine grid resolves.

Statistics: from training data with noise, as in the paper's experiments, on ``levels`` intervals uniform in lambda
between the suite's ends. ``fit_evals`` counts three denoiser rows per image and level; the forward pass of one of them
carries a tangent, which costs about four more. They serve every budget.

Departures from the authors' code: noise levels are not moved to the statistics' own; integrals are exact for
coefficients that are linear between levels (theirs: trapezoidal rule); a step to 0 returns ``D`` of the corrected x;
statistics are the same for every budget, order and corrector do not change with it. Theirs, on EDM: ``grid=logsnr[
end=sigma_min]``, ``corrector=same`` up to 6 evaluations and ``none`` beyond, ``pseudo=true`` up to 5.
``degenerated`` sets l = 1, s = b = 0 and needs no fit: DPM-Solver++ with ``solver_type=heun`` if there is no corrector.
The order with statistics is the paper's only while steps are longer than their levels; none is declared.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, FitTask, Grid, Info, Paper, Problem, Solver, Unsupported
from bench.coefficients import LowerFinal, step_order
from bench.ems import Integrals, Statistics, taylor
from bench.ems_fit import collect
from bench.rng import SampleNoise

INFO = Info(
    summary="Multistep exponential integrator in a parametrisation fitted to the teacher's own statistics.",
    family="calibrated",
    papers=(
        Paper(
            title="DPM-Solver-v3: Improved Diffusion ODE Solver with Empirical Model Statistics",
            authors="Kaiwen Zheng and Cheng Lu and Jianfei Chen and Jun Zhu",
            year=2023,
            arxiv="2310.13268",
            equation="Algorithm 2",
            code="thu-ml/DPM-Solver-v3",
        ),
    ),
    requires=("artifact",),
)


class DPMSolverV3(Solver):
    """The solver and its statistics.

    Attributes:
        order: largest number of values of g a step uses, 1 to 3.
        corrector: ``none``; ``same``, of the order of the step before; ``pseudo``, of one order more, pseudo-order.
        pseudo: derivatives of the predictor from the nearest values only (Eq. 15), for 5 evaluations or fewer.
        lower_final: grids of fewer intervals than this end in orders ``..., 2, 1``; ``always`` (the authors) or 0.
        degenerated: ignore the statistics.
        levels, images, batch: intervals, training samples and batch size of the statistics.
        floor: standard deviation that is added to that of f, in units of the data; 0 is the paper.
    """

    sampling_only: ClassVar[frozenset[str]] = frozenset(
        {"grid", "order", "corrector", "pseudo", "lower_final", "degenerated"}
    )

    order: int = Field(default=2, ge=1, le=3)
    corrector: Literal["none", "same", "pseudo"] = "same"
    pseudo: bool = False
    lower_final: LowerFinal = "always"
    degenerated: bool = False
    levels: int = Field(default=60, ge=1)
    images: int = Field(default=160, ge=2)
    batch: int = Field(default=32, ge=1)
    floor: float = Field(default=1e-4, ge=0)

    @property
    def declared_order(self) -> int | None:
        late = self.lower_final == "always" or self.pseudo
        if not self.degenerated or (self.corrector == "same" and self.order > 1 and self.lower_final != "always"):
            return None
        return 2 if self.corrector == "pseudo" else min(self.order, 2) if late else self.order

    def artifact_name(self, nfe: int) -> str:
        return "" if self.degenerated else "ems"

    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        lam = torch.linspace(-math.log(task.sigma_max), -math.log(task.sigma_min), self.levels + 1, dtype=torch.float64)
        sigma = (-lam).exp()
        sigma[0] = task.sigma_max  # rounding must not ask for more
        found = collect(task, sigma, self.images, self.batch).statistics(lam, self.floor)
        return {"sigma": sigma, **{name: value.float() for name, value in found.items()}}

    def _run(self, denoise: Denoiser, x: Tensor, grid: Grid, statistics: Statistics) -> Tensor:
        done: Integrals | None = None  # of the step before
        tau: list[float] = []  # lambda of the values, newest first, from that of the newest
        values: list[Tensor] = []  # of g in the frame of the newest
        start, order, reach = x, 0, self.order + (self.corrector == "pseudo")
        for i, (sigma_s, sigma_t) in enumerate(grid.steps()):
            keep = (1 - statistics.linear_at(sigma_s)).to(x)
            f = keep * x - denoise(x, sigma_s)
            if done is not None:
                h, c_order = -tau[0], order + (self.corrector == "pseudo")
                if self.corrector != "none" and c_order > 1:
                    at, known = [0.0, h, *(t + h for t in tau[1:])], [values[0], done.into_frame(f), *values[1:]]
                    x = done.advance(start, taylor(at[:c_order], known[:c_order], self.corrector == "pseudo"))
                values = [done.next_frame(g) for g in values]
            if sigma_t == 0:
                return keep * x - f
            values, tau = [f, *values[: reach - 1]], [0.0, *tau[: reach - 1]]
            order = step_order(self.order, i, len(grid) - 1, self.lower_final)
            done, start = statistics.integrals(sigma_s, sigma_t, reach), x
            x = done.advance(x, taylor(tau[:order], values[:order], self.pseudo))
            tau = [t - math.log(sigma_s / sigma_t) for t in tau]
        return x

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        if not self.degenerated:
            raise Unsupported("DPM-Solver-v3 integrates with fitted statistics only; or use degenerated=true")
        return self._run(denoise, x, grid, Statistics.degenerate())

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if self.degenerated:
            return super().sample(problem, nfe)
        if "l" not in problem.artifact:
            raise Unsupported(f"no statistics are fitted; run bench fit with --nfe {nfe}, one fit serves all budgets")
        grid = problem.grid(self.grid, self.intervals(nfe))
        return self._run(problem.denoise, problem.x, grid, Statistics.from_artifact(problem.artifact))
