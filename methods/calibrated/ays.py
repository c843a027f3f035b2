r"""Align Your Steps: the levels that minimise an upper bound on the KL divergence of few-step sampling.

A step from ``s_i`` to ``s_{i+1}`` that holds the prediction at its start solves the reverse SDE with ``D(x_i, s_i)`` in
place of ``D(x, sigma)``. By Girsanov's theorem the KL divergence between the two processes' paths is

    KLUB = sum_i int_{s_{i+1}}^{s_i} sigma^-3 E |D(x_sigma, sigma) - D(x_{s_i}, s_i)|^2 dsigma

with x_sigma data plus noise of level sigma and ``x_{s_i}`` the same plus more noise, and it bounds that of the samples.
Sabour, Fidler and Kreis 2024, "Align Your Steps: Optimizing Sampling Schedules in Diffusion Models", arXiv 2404.14507,
where the bound is called KLUB. The levels published there are the grids ``ays_sd15``, ``ays_sdxl`` and ``ays_svd``.

The optimisation follows the paper: one level at a time is moved between its neighbours to where the bound is least;
then every interval is halved and the levels are optimised again, ``doublings`` times; other numbers of steps are read
off by log-linear interpolation. It is stopped early: after ``rounds`` over all levels per stage, or when the bound on
data held out does not fall. A lower bound is not a better schedule: on both shipped suites the error of samples fell
for 3 to 5 rounds and then rose beyond that of the start. For the same reason the bound ends at ``lowest`` (0.03, as the
schedules released for Stable Diffusion do): a last interval from s to e adds about ``(s / e)^2 / 2`` per dimension,
which draws levels without limit to where nothing is left to see. Both defaults were chosen on these suites.

Departures: there is no code of the authors' for this. The bound is not estimated anew for each candidate: common paths
of data through ``levels`` log-spaced noise levels, one evaluation at each, give the integrand between any two of them,
and so the bound of every schedule of these levels (trapezoidal rule in log sigma). Importance sampling of sigma is not
needed then. The last level is replaced by 0.
"""

from __future__ import annotations

import itertools

import torch
from pydantic import Field
from torch import Tensor

from bench.api import FitBatch, FitTask, Info, Paper, Unsupported
from bench.grids import make_grid
from bench.schedule import Schedule

INFO = Info(
    summary="Levels that minimise an upper bound on the KL divergence between few-step and exact sampling.",
    family="calibrated",
    papers=(
        Paper(
            title="Align Your Steps: Optimizing Sampling Schedules in Diffusion Models",
            authors="Amirmojtaba Sabour and Sanja Fidler and Karsten Kreis",
            year=2024,
            arxiv="2404.14507",
            equation="KLUB",
        ),
    ),
    requires=("artifact",),
)


def predictions(batch: FitBatch, sigma: Tensor, source: torch.Generator) -> Tensor:
    """D (L, B d) float64 along paths from data x0 (B, ...) up through levels sigma (L,), highest first."""
    x, below, found = batch.x, 0.0, []
    for level in reversed(sigma.tolist()):
        step = (level**2 - below**2) ** 0.5
        x = x + step * torch.randn(x.shape, generator=source).to(x)
        found.append(batch.denoise(x, level).flatten().double())
        below = level
    return torch.stack(found[::-1])


def bounds(prediction: Tensor, sigma: Tensor, images: int) -> Tensor:
    """(L, L) float64: the term of an interval from level i down to level j in the bound; infinite unless j > i."""
    gap = torch.cdist(prediction, prediction).square() / images  # E |D_i - D_k|^2
    height = gap / sigma**2  # of sigma^-3 dsigma = sigma^-2 dlog sigma, at level k
    width = -sigma.log().diff()
    area = (height[:, 1:] + height[:, :-1]) / 2 * width
    total = torch.cat([torch.zeros(len(sigma), 1).to(area), area.cumsum(1)], dim=1)
    total = total - total.diagonal()[:, None]
    return total.masked_fill(torch.ones_like(total).tril().bool(), torch.inf)


def bound(path: list[int], term: Tensor) -> float:
    """KLUB of a schedule of levels."""
    return float(sum(term[i, j] for i, j in itertools.pairwise(path)))


def descend(path: list[int], term: Tensor, held_out: Tensor, rounds: int) -> list[int]:
    """Move one level at a time to its best place, until the rounds are over or the bound on held-out data rises."""
    for _ in range(rounds):
        moved = list(path)
        for k in range(1, len(path) - 1):
            moved[k] = int((term[moved[k - 1]] + term[:, moved[k + 1]]).argmin())
        if bound(moved, held_out) >= bound(path, held_out):
            break
        path = moved
    return path


def halve(path: list[int]) -> list[int]:
    """A level in the middle of every interval that has one."""
    middle = [(i + j) // 2 for i, j in itertools.pairwise(path)]
    return sorted({*path, *middle})


def resample(sigma: Tensor, steps: int) -> Tensor:
    """(steps + 1,): the levels (n + 1,) interpolated log-linearly over their index."""
    at = torch.linspace(0, len(sigma) - 1, steps + 1, dtype=torch.float64)
    low = at.floor().long().clamp(max=len(sigma) - 2)
    return torch.lerp(sigma.log()[low], sigma.log()[low + 1], at - low).exp()


class AYS(Schedule):
    """The fitted schedule.

    Attributes:
        solver, sampler: see ``bench.schedule``; the bound is the same for all solvers.
        teacher_grid: spec of the schedule that the search starts from, between ``sigma_max`` and ``lowest``.
        first: number of steps of the first schedule; 0 is the number that is asked for.
        doublings: how often its intervals are halved.
        rounds: over all levels, in each stage.
        lowest: the noise level at which the bound ends.
        levels: L, of the noise levels a schedule may have.
        images: how many paths of data there are; half of them are held out.
    """

    solver: str = "dpm_solver_pp"
    first: int = Field(default=10, ge=0, le=100)
    doublings: int = Field(default=2, ge=0, le=4)
    rounds: int = Field(default=4, ge=0)
    lowest: float = Field(default=0.03, gt=0)
    levels: int = Field(default=129, ge=2, le=2000)
    images: int = Field(default=128, ge=2)

    @torch.no_grad()
    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        steps = self.steps(task, nfe)
        first = self.first or steps
        if first >= self.levels or self.lowest >= task.sigma_max:
            raise Unsupported(f"{first} steps cannot be chosen from levels={self.levels} above lowest={self.lowest}")
        ends = torch.tensor([task.sigma_max, self.lowest], dtype=torch.float64).log()
        sigma = torch.linspace(float(ends[0]), float(ends[1]), self.levels, dtype=torch.float64).exp()
        terms: list[Tensor] = []
        for half in range(2):
            batch = task.data(self.images // 2)
            task.progress(half, 2, "paths")
            terms.append(bounds(predictions(batch, sigma, task.generator), sigma, self.images // 2))
        start = make_grid(self.teacher_grid, first, self.lowest, task.sigma_max, task.process).sigma
        nearest = (sigma[:, None].log() - start.clamp(min=self.lowest).log()).abs().argmin(0)
        path = descend(sorted(set(nearest.tolist())), terms[0], terms[1], self.rounds)
        for _ in range(self.doublings):
            path = descend(halve(path), terms[0], terms[1], self.rounds)
        chosen = resample(sigma[path], steps)
        chosen[0] = task.sigma_max
        return {"sigma": torch.cat([chosen[:-1], chosen.new_zeros(1)])}
