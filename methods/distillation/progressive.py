r"""Progressive distillation: a student of N steps learns two steps at a time from a teacher of 2N steps.

From ``x_s = x0 + sigma_s eps`` at a node of the N-step grid the teacher takes two DDIM steps along the 2N-step grid,
``sigma_s -> sigma_m -> sigma_e``, to ``x''``. The x0 with which one DDIM step lands on ``x''`` is what the student
learns to predict::

    x~   = (x'' - r x_s) / (1 - r),   r = sigma_e / sigma_s
    loss = max(SNR, 1) |D_student(x_s, sigma_s) - x~|^2,   SNR = 1 / sigma_s^2

Then the student becomes the teacher and N is halved. Sampling is DDIM on the N-step grid.

Salimans and Ho 2022, arXiv 2202.00512: Algorithm 2, Sec. 4 (truncated SNR weighting), App. G (x~, here with alpha = 1).
Departures from the authors' code (google-research/diffusion_distillation): the teacher is an EDM network on a Karras
grid, not a network with a cosine schedule; predictions are not clipped to the range of the data, which is the suite's
business; the learning rate warms up and falls along a cosine; weights are averaged, and rounded to float16 after every
halving, since each student is an artifact. As in the paper, the students of 2 and 1 steps get twice the updates.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.api import Denoiser, FitTask, Info, Paper, Problem, Unsupported
from bench.denoiser import align
from bench.distill import Distilled, ddim, ddim_step, normal_like, restored, student

INFO = Info(
    summary="Students of 16, 8, 4, 2, 1 DDIM steps, each taught two steps at a time by the one before.",
    family="distilled",
    papers=(
        Paper(
            title="Progressive Distillation for Fast Sampling of Diffusion Models",
            authors="Tim Salimans and Jonathan Ho",
            year=2022,
            arxiv="2202.00512",
            equation="Algorithm 2",
            code="google-research/google-research",
        ),
    ),
    requires=("artifact", "network"),
)


def two_step_target(denoise: Denoiser, x: Tensor, sigmas: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """x~ (B, ...): the prediction at x with which one DDIM step does what two steps of ``denoise`` do.

    Args:
        denoise: the teacher of this stage.
        x: (B, ...) state at ``sigma_s``.
        sigmas: (B,) each: ``sigma_s > sigma_m > sigma_e >= 0``.
    """
    sigma_s, sigma_m, sigma_e = sigmas
    x_m = ddim_step(x, denoise(x, sigma_s), sigma_s, sigma_m)
    x_e = ddim_step(x_m, denoise(x_m, sigma_m), sigma_m, sigma_e)
    r = sigma_e / sigma_s
    return (x_e - align(r, x) * x) / align(1 - r, x)


class Progressive(Distilled):
    """Progressive distillation.

    Attributes:
        grid: of all stages; every second node of 2N intervals must be the grid of N intervals.
        start: steps of the first teacher; possible budgets are start / 2, start / 4, ...
        steps, batch, rate, decay: of the training; see ``bench.distill.Distilled``.
    """

    grid: str = "karras"
    start: int = Field(default=32, ge=2)
    steps: int = Field(default=500, ge=1)

    def _budgets(self) -> list[int]:
        budgets, n = [], self.start
        while n % 2 == 0:
            n //= 2
            budgets.append(n)
        return budgets

    def _check(self, nfe: int) -> None:
        if nfe not in self._budgets():
            known = ", ".join(map(str, reversed(self._budgets())))
            raise Unsupported(f"progressive halves the number of steps from {self.start}, so nfe is one of {known}")

    def artifact_name(self, nfe: int) -> str:
        return f"nfe{nfe}" if nfe in self._budgets() else ""  # sampling then says which budgets there are

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        self._check(nfe)
        return ddim(student(problem), problem.x, problem.grid(self.grid, nfe).nodes)

    def fit(self, task: FitTask, nfe: int) -> dict[str, Tensor]:
        self._check(nfe)
        fine = task.grid(self.grid, 2 * nfe).sigma  # (2N + 1,)
        if not torch.allclose(fine[::2], task.grid(self.grid, nfe).sigma):
            raise Unsupported(f"the grid {self.grid} is not nested; take one that ends in zero, such as karras")
        if 2 * nfe == self.start:
            teacher, network = None, task.student()
        else:
            weights = task.artifact(2 * nfe)
            teacher, network = restored(task, weights), restored(task, weights)
        return self.train(task, network, lambda: self.loss(task, fine, teacher, network), factor=2 if nfe <= 2 else 1)

    def loss(self, task: FitTask, fine: Tensor, teacher: nn.Module | None, network: nn.Module) -> Tensor:
        """The weighted mean square on one batch.

        Args:
            task: gives the batch, and the teacher of the first stage.
            fine: (2N + 1,) nodes of the teacher's grid.
            teacher: of this stage; None is the suite's.
            network: the student.
        """
        batch = task.data(self.batch)
        node = 2 * torch.randint(len(fine) // 2, (self.batch,), generator=task.generator)
        sigmas = fine[node], fine[node + 1], fine[node + 2]
        x = batch.x + align(sigmas[0], batch.x) * normal_like(batch.x, task.generator)
        with torch.no_grad():
            target = two_step_target(batch.denoise if teacher is None else batch.bind(teacher), x, sigmas)
        weight = (1 / sigmas[0] ** 2).clamp_min(1)
        error = batch.bind(network)(x, sigmas[0]) - target
        return (align(weight, x) * error**2).mean()
