r"""AutoDiffusion: an evolutionary search for the noise levels of few-step sampling.

A candidate is a sorted set of distinct levels of a fine grid, its fitness how good samples along it are. Generations of
``population`` candidates; the ``parents`` best of all there have been make the next one:

    mutation   each level of a parent is replaced, with probability 1/4, by a random one that it does not have
    crossover  each level is that of one of two parents with equal probability; what comes of it is sorted
    random     whatever is missing, drawn uniformly

The first generation holds the uniform schedule, random ones, and mutations of the uniform one (probability 1/10), so
that the result is at least as fit as the uniform schedule. Li, Li, Zheng, Wu, Xiao, Wang, Zheng, Pan, Chao and Ji 2023,
"AutoDiffusion: Training-Free Optimization of Time Steps and Architectures for Automated Diffusion Model Acceleration",
arXiv 2309.10438, the search of time steps (not of architectures).

Departures: the paper's fitness is FID on thousands of samples. FID is a judge here, which no method sees; ``objective``
is ``energy``, the energy distance ``2 E|x - y| - E|x - x'| - E|y - y'|`` between samples and training data, or
``paired``, the root mean square error to ``teacher``'s samples. All candidates start from the same noise. ``paired`` is
the default because the energy distance of 32 samples is mostly noise: on the digits the schedules it chose for 10
evaluations were worse than the uniform one. The first level is ``sigma_max`` and the last 0; theirs may be any. The
search is smaller than the authors' (50, of which 25 mutations and 15 crossovers, 10 parents, 10 generations).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.api import FitTask, Grid, Info, Paper, Solver, Unsupported
from bench.probe import same_noise
from bench.schedule import Schedule

INFO = Info(
    summary="An evolutionary search for the noise levels that make the best samples.",
    family="calibrated",
    papers=(
        Paper(
            title="AutoDiffusion: Training-Free Optimization of Time Steps and Architectures for Automated Diffusion "
            "Model Acceleration",
            authors="Lijiang Li and Huixia Li and Xiawu Zheng and Jie Wu and Xuefeng Xiao and Rui Wang and Min Zheng "
            "and Xin Pan and Fei Chao and Rongrong Ji",
            year=2023,
            arxiv="2309.10438",
            equation="evolutionary search",
            code="lilijiangg/AutoDiffusion",
        ),
    ),
    requires=("artifact",),
)

Candidate = tuple[int, ...]  # increasing indices of the levels between the first and the last


def mutate(parent: Candidate, last: int, chance: float, source: Random) -> Candidate:
    """Every level replaced, with a chance, by one from 1 to ``last - 1`` that is not there yet."""
    levels = list(parent)
    for k in range(len(levels)):
        free = [level for level in range(1, last) if level not in levels]
        if free and source.random() < chance:
            levels[k] = source.choice(free)
    return tuple(sorted(levels))


def cross(one: Candidate, other: Candidate, source: Random) -> Candidate:
    """Each level from one of the parents; shorter than they are where a level is there twice."""
    return tuple(sorted({a if source.random() < 0.5 else b for a, b in zip(one, other, strict=True)}))


def energy(x: Tensor, y: Tensor) -> float:
    """Energy distance (V-statistic, at least 0) between samples x (B, d) and y (C, d)."""
    return float(2 * torch.cdist(x, y).mean() - torch.cdist(x, x).mean() - torch.cdist(y, y).mean())


class AutoDiffusion(Schedule):
    """The fitted schedule.

    Attributes:
        solver, sampler: see ``bench.schedule``; candidates are judged by samples of ``solver``.
        teacher_grid: spec of the fine grid; every so many of its levels are the uniform schedule.
        teacher_steps: the number of its intervals.
        objective: what makes a schedule fit; ``teacher`` is the solver that ``paired`` compares with.
        images: samples per candidate; ``energy`` compares them with ``references`` training samples.
        population, mutations, crossovers, parents, generations: of the search.
    """

    solver: str = "ipndm"
    teacher_steps: int = Field(default=100, ge=2, le=2000)
    objective: Literal["energy", "paired"] = "paired"
    teacher: str = "dpm_solver_pp"
    images: int = Field(default=32, ge=2)
    references: int = Field(default=500, ge=2)
    population: int = Field(default=20, ge=1)
    mutations: int = Field(default=10, ge=0)
    crossovers: int = Field(default=6, ge=0)
    parents: int = Field(default=5, ge=1)
    generations: int = Field(default=5, ge=1)

    @torch.no_grad()
    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        steps, last = self.steps(task, nfe), self.teacher_steps
        if steps > last:
            raise Unsupported(f"{steps} steps cannot be chosen from teacher_steps={last}")
        grid = task.grid(self.teacher_grid, last)
        badness = self._objective(task, grid)
        source = Random(int(torch.randint(2**31, (), generator=task.generator)))
        found: dict[Candidate, float] = {}
        for made in range(self.generations):
            for candidate in self._generation(found, steps, source):
                found[candidate] = badness(grid.sigma[[0, *candidate, last]])
            task.progress(made + 1, self.generations, f"{self.objective} {min(found.values()):.4f}")
        return {"sigma": grid.sigma[[0, *min(found, key=found.__getitem__), last]]}

    def _generation(self, found: Mapping[Candidate, float], steps: int, source: Random) -> list[Candidate]:
        """New candidates, fewer than the population where there are no more."""
        best = sorted(found, key=found.__getitem__)[: self.parents]
        count, last, half = steps - 1, self.teacher_steps, self.population // 2
        uniform = tuple(round(k * last / steps) for k in range(1, steps))
        plan: list[tuple[int, Callable[[], Candidate]]] = [
            (self.mutations, lambda: mutate(source.choice(best), last, 0.25, source)),
            (self.crossovers, lambda: cross(source.choice(best), source.choice(best), source)),
            (self.population, lambda: tuple(sorted(source.sample(range(1, last), count)))),
        ]
        if not best:
            plan = [(1, lambda: uniform), (half, plan[2][1]), (half, lambda: mutate(uniform, last, 0.1, source))]
        made: list[Candidate] = []
        for number, make in plan:
            goal = min(len(made) + number, self.population)
            for _ in range(10 * number):
                candidate = make()
                if len(made) < goal and len(candidate) == count and candidate not in {*found, *made}:
                    made.append(candidate)
        return made

    def _objective(self, task: FitTask, grid: Grid) -> Callable[[Tensor], float]:
        """How bad samples along levels (K + 1,) are."""
        batch, solver = task.noise(self.images), task.solver(self.solver)

        def samples(solver: Solver, sigma: Tensor) -> Tensor:
            made = solver.integrate(batch.denoise, batch.x, Grid(sigma, grid.process), same_noise(batch.x))
            return made.flatten(1).double()

        if self.objective == "energy":
            data = task.data(self.references).x.flatten(1).double()
            return lambda sigma: energy(samples(solver, sigma), data)
        target = samples(task.solver(self.teacher), grid.sigma)
        return lambda sigma: float((samples(solver, sigma) - target).square().mean().sqrt())
