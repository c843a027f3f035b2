r"""S3: a search over solver schedules, in which every step has its own level, order, prediction type and corrector.

A schedule of K steps is K - 1 inner noise levels and K decisions (``bench.unified``). Evolution looks for the one with
the smallest error against the teacher's own solution from the same noise::

    population  schedules of known solvers (DDIM, DPM-Solver++, DPM-Solver, UniPC on a Karras grid) and mutants of them
    repeat      parents = the best so far; children = crossover of two parents, then mutation
    keep        the best schedule ever seen, so the result is never worse than the known ones on the images searched

Liu, Ning, Yang and Wang 2023, "A Unified Sampling Framework for Solver Searching of Diffusion Probabilistic
Models", arXiv 2312.07243, Sec. 5.

Departures: the paper minimises FID, which a method cannot see here, with the help of a learned predictor of it; the
objective is the root mean square error to the teacher's solution (``teacher_steps`` of DPM-Solver++), every schedule is
evaluated, and the search is smaller by two orders of magnitude.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from bench.api import FitTask, Info, Method, Paper, Problem, Unsupported
from bench.probe import same_noise
from bench.unified import MAX_ORDER, Decision, integrate

INFO = Info(
    summary="An evolutionary search over levels, orders, prediction types and correctors, step by step.",
    family="calibrated",
    papers=(
        Paper(
            title="A Unified Sampling Framework for Solver Searching of Diffusion Probabilistic Models",
            authors="Enshu Liu and Xuefei Ning and Huazhong Yang and Yu Wang",
            year=2023,
            arxiv="2312.07243",
            code="thu-nics/USF",
        ),
    ),
    requires=("artifact",),
)

RHO = 7
KNOWN = (
    Decision(order=1),
    Decision(order=2),
    Decision(order=3),
    Decision(order=2, noise=True),
    Decision(order=2, corrected=True),
    Decision(order=3, corrected=True),
)


@dataclass(frozen=True)
class Genome:
    """A schedule: ``u`` (K - 1,) increasing in (0, 1), where levels are even in ``sigma^{1/rho}``; ``genes`` (K, 3)."""

    u: Tensor
    genes: Tensor  # int64: order, noise, corrected

    @property
    def decisions(self) -> list[Decision]:
        """One for each step."""
        return [Decision(order, bool(noise), bool(corrected)) for order, noise, corrected in self.genes.tolist()]

    def levels(self, sigma_max: float, sigma_min: float) -> Tensor:
        """(K + 1,) float64, from ``sigma_max`` to 0."""
        high, low = sigma_max ** (1 / RHO), sigma_min ** (1 / RHO)
        inner = (high + self.u * (low - high)) ** RHO
        ends = torch.tensor([sigma_max, 0.0], dtype=torch.float64)
        return torch.cat([ends[:1], inner, ends[1:]])


def known(decision: Decision, steps: int) -> Genome:
    """A solver's schedule: the same decision at every step of a Karras grid."""
    u = torch.arange(1, steps, dtype=torch.float64) / steps
    return Genome(u, torch.tensor([[decision.order, decision.noise, decision.corrected]] * steps))


def mutate(genome: Genome, source: torch.Generator, rate: float) -> Genome:
    """Levels moved by up to half their distance, decisions drawn anew, each with probability ``rate``."""
    steps = len(genome.genes)
    edges = torch.cat([torch.zeros(1, dtype=torch.float64), genome.u, torch.ones(1, dtype=torch.float64)])
    room = torch.rand(steps - 1, generator=source, dtype=torch.float64) - 0.5
    reach = torch.where(room > 0, edges[2:] - genome.u, genome.u - edges[:-2])
    moved = torch.rand(steps - 1, generator=source) < 2 * rate
    u = genome.u + torch.where(moved, room * reach, torch.zeros_like(room))  # less than half way: still increasing
    drawn = torch.stack([torch.randint(1, MAX_ORDER + 1, (steps,), generator=source)] * 3, dim=1)
    drawn[:, 1:] = torch.randint(2, (steps, 2), generator=source)
    return Genome(u, torch.where(torch.rand(steps, 3, generator=source) < rate, drawn, genome.genes))


def cross(one: Genome, other: Genome, source: torch.Generator) -> Genome:
    """Levels half way between two parents', each decision from one of them."""
    choice = torch.rand(len(one.genes), 1, generator=source) < 0.5
    return Genome((one.u + other.u) / 2, torch.where(choice, one.genes, other.genes))


class S3(Method):
    """The best schedule found.

    Attributes:
        population, generations, parents: of the evolution; ``rate`` is that of mutations.
        images: how many trajectories a schedule is judged on.
        teacher_steps: of the solution it is compared with.
    """

    population: int = Field(default=20, ge=len(KNOWN))
    generations: int = Field(default=6, ge=0)
    parents: int = Field(default=6, ge=2)
    rate: float = Field(default=0.2, ge=0.0, le=0.5)
    images: int = Field(default=32, ge=1)
    teacher_steps: int = Field(default=64, ge=1)

    def artifact_name(self, nfe: int) -> str:
        return f"nfe{nfe}"

    @torch.no_grad()
    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        batch, solver = task.noise(self.images), task.solver("dpm_solver_pp")
        exact = solver.integrate(batch.denoise, batch.x, task.grid("karras", self.teacher_steps), same_noise(batch.x))

        def error(genome: Genome) -> float:
            levels = genome.levels(task.sigma_max, task.sigma_min).tolist()
            found = integrate(batch.denoise, batch.x, levels, genome.decisions)
            value = float((found - exact).double().square().mean().sqrt())
            return value if value < torch.inf else torch.inf  # NaN is no progress

        starts = [known(decision, nfe) for decision in KNOWN]
        wild = [mutate(starts[i % len(starts)], task.generator, 0.5) for i in range(self.population - len(starts))]
        ranked = sorted(((error(genome), genome) for genome in [*starts, *wild]), key=lambda pair: pair[0])
        for generation in range(self.generations):
            task.progress(generation, self.generations, f"error {ranked[0][0]:.4g}")
            best = [genome for _, genome in ranked[: self.parents]]
            for _ in range(self.population):
                i, j = torch.randint(len(best), (2,), generator=task.generator).tolist()
                child = mutate(cross(best[i], best[j], task.generator), task.generator, self.rate)
                ranked.append((error(child), child))
            ranked.sort(key=lambda pair: pair[0])
        chosen = ranked[0][1]
        return {"sigma": chosen.levels(task.sigma_max, task.sigma_min), "decision": chosen.genes}

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if "sigma" not in problem.artifact:
            raise Unsupported(f"no schedule has been searched for nfe={nfe}; run bench fit with --nfe {nfe}")
        sigma, genes = problem.artifact["sigma"].double(), problem.artifact["decision"]
        return integrate(problem.denoise, problem.x, sigma.tolist(), Genome(sigma[1:-1], genes).decisions)
