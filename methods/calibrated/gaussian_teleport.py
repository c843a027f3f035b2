r"""Gaussian teleportation: the first part of the trajectory in closed form, as if the data were one Gaussian.

Far above the scale of the data the score is close to that of a Gaussian with the data's mean and covariance
``U diag(l) U^T``, whose probability-flow ODE has the solution

    x(sigma) = mu + sum_k sqrt((sigma^2 + l_k) / (sigma_T^2 + l_k)) u_k u_k^T (x_T - mu)
                  + sqrt((sigma^2 + l_tail) / (sigma_T^2 + l_tail)) d_perp

===========  ==================================================================
``mu``       mean of the data, (d,)
``u_k, l_k`` the k largest eigenpairs of its covariance, (d, k) and (k,)
``d_perp``   what is left of ``x_T - mu``
``l_tail``   variance of what is left: the mean of the other eigenvalues, or 0
===========  ==================================================================

No evaluation is spent above ``sigma_skip``; a solver makes all of its steps from there. Exact for Gaussian data, at
any sigma. Wang and Vastola 2023, arXiv 2303.02490 (the solution, their Sec. on Gaussian data), and 2024, arXiv
2412.09726 (the hybrid sampler).

Departures from the authors' code:

* They drop the first nodes of a fixed grid, so evaluations are saved; here the budget is fixed and the solver's own
  grid starts at ``sigma_skip``. For a Karras grid the two are the same nodes.
* Their tail has variance 0 (``tail=zero``); the default keeps the mean of the eigenvalues that are cut off.
* One Gaussian for all classes: a method does not see the conditioning. For a conditional teacher the skipped part is
  that of the unconditional one, which is a good approximation only as far as sigma_skip is above the distance between
  the classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.api import FitTask, Info, Method, Paper, Problem, Unsupported

INFO = Info(
    summary="The ODE's first part in closed form for a Gaussian with the data's moments, then any solver.",
    family="calibrated",
    papers=(
        Paper(
            title="The Unreasonable Effectiveness of Gaussian Score Approximation for Diffusion Models",
            authors="Binxu Wang and John J. Vastola",
            year=2024,
            arxiv="2412.09726",
            code="Animadversio/GaussianTeleportationDiffusion",
        ),
        Paper(
            title="Diffusion Models Generate Images Like Painters: "
            "an Analytical Theory of Outline First, Details Later",
            authors="Binxu Wang and John J. Vastola",
            year=2023,
            arxiv="2303.02490",
        ),
    ),
    requires=("artifact",),
)

BATCH = 1000


def moments(task: FitTask, images: int) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d), float64, of training samples drawn in batches: only sums are kept."""
    total = square = torch.zeros((), dtype=torch.float64)
    for start in range(0, images, BATCH):
        rows = task.data(min(BATCH, images - start)).x.flatten(1).double()
        total = total + rows.sum(0)
        square = square + rows.T @ rows
        task.progress(start + len(rows), images, "moments")
    mean = total / images
    return mean, square / images - torch.outer(mean, mean)


def teleport(x: Tensor, gaussian: Mapping[str, Tensor], start: float, end: float, tail: float) -> Tensor:
    """The closed form above, from sigma = start to sigma = end.

    Args:
        x: (B, ...) state at ``start``.
        gaussian: ``mean`` (d,), ``vectors`` (d, k) and ``values`` (k,).
        start, end: noise levels.
        tail: the variance of what the vectors do not span.
    """
    mean, vectors, values = (gaussian[name].to(x.device, torch.float64) for name in ("mean", "vectors", "values"))
    offset = x.flatten(1).double() - mean
    along = offset @ vectors  # (B, k)
    rest = ((end**2 + tail) / (start**2 + tail)) ** 0.5
    gain = ((end**2 + values) / (start**2 + values)).sqrt()
    moved: Tensor = mean + rest * offset + ((gain - rest) * along) @ vectors.T
    return moved.view(x.shape).to(x.dtype)


class GaussianTeleport(Method):
    """A closed form down to ``sigma_skip``, a solver from there.

    Attributes:
        solver: spec of the solver; its grid runs from ``sigma_skip`` to the end.
        sigma_skip: the noise level at which the solver takes over.
        tail: variance outside the kept directions: the mean of the cut eigenvalues, or ``zero`` (authors' code).
        k: the number of directions that are kept, at most; all of them if the data has fewer.
        images: training samples drawn for the moments.
    """

    sampling_only: ClassVar[frozenset[str]] = frozenset({"solver", "sigma_skip", "tail"})

    solver: str = "dpm_solver_pp"
    sigma_skip: float = Field(default=10.0, gt=0)
    tail: Literal["isotropic", "zero"] = "isotropic"
    k: int = Field(default=64, ge=1, le=4096)
    images: int = Field(default=10000, ge=2)

    def artifact_name(self, nfe: int) -> str:
        return "gaussian"

    @torch.no_grad()
    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        mean, covariance = moments(task, self.images)
        values, vectors = torch.linalg.eigh(covariance)  # ascending
        values, vectors = values.clamp_min(0).flip(0), vectors.flip(1)
        cut = values[self.k :]
        return {
            "mean": mean.float(),
            "vectors": vectors[:, : self.k].float(),
            "values": values[: self.k].float(),
            "tail": cut.mean().float() if len(cut) else torch.zeros(()),
        }

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if not problem.artifact:
            raise Unsupported("the data's moments have not been fitted for these parameters; bench fit does it")
        if self.sigma_skip >= problem.sigma_max:
            raise Unsupported(f"sigma_skip={self.sigma_skip:g} is not below this suite's {problem.sigma_max:g}")
        solver = problem.solver(self.solver)
        below = dataclasses.replace(problem, sigma_max=self.sigma_skip)
        grid = below.grid(solver.grid, solver.intervals(nfe))
        if grid.nodes[0] != self.sigma_skip:
            raise Unsupported(f"the grid of {self.solver} starts at {grid.nodes[0]:g}, not at sigma_skip")
        tail = float(problem.artifact["tail"]) if self.tail == "isotropic" else 0.0
        x = teleport(problem.x, problem.artifact, problem.sigma_max, self.sigma_skip, tail)
        return solver.integrate(problem.denoise, x, grid, problem.noise)
