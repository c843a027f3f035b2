r"""Time-shift sampling: the network is told the time that the state's own variance speaks for.

In the variance-preserving state ``z = x / sqrt(1 + sigma^2)`` of a model with 1000 times tau and
``sigma(tau)^2 = (1 - abar(tau)) / abar(tau)``, an evaluation at time t above ``cutoff`` uses, for each sample,

    tau = argmin |var(z) - (1 - abar(tau))|  over  tau in {t - window/2, ..., t, ..., t + window/2}
    eps = eps(z, tau)  in place of  eps(z, t),

``var`` being over the sample's pixels; the solver's own levels stay what they are. Images have far less variance than
the noise at such times, so ``var(z)`` is close to ``1 - abar(t)``, and what is missing comes from the sampler's error.

Li, Qu, Yao, Sun and Moens 2024, "Alleviating Exposure Bias in Diffusion Models through Sampling with Shifted Time
Steps", arXiv 2305.15583. This wraps any solver: it gets a denoiser ``D' = x - sigma eps`` and does not know. In terms
of D, with ``sigma' = sigma(tau)`` and ``x' = x sqrt((1 + sigma'^2) / (1 + sigma^2))``, the same z at another level::

    eps = (x' - D(x', sigma')) / sigma'

The times are the indices of DDPM's linear betas from 1e-4 to 0.02, in which the authors give windows and cutoffs: 30
and 300 (the default) with DPM-Solver-2, 5 and 550 with PNDM, 20 and 900 with DEIS (``--window_size 10``, which their
DEIS code counts to each side), all on CIFAR-10.

Departures from the authors' code: times between two indices are shifted by whole indices from where they are, so that
``window=0`` is the solver itself, and whether one is above the cutoff is asked of the nearest index; no time leads
above ``sigma_max``. Their PNDM and DPM-Solver code shifts the level that a step ends at, for which there is no
denoiser; this is their DEIS code and the paper's Algorithm.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from bench.api import Denoiser, Info, Method, Paper, Problem, Unsupported
from bench.denoiser import align, per_sample
from bench.process import VPDiscrete

INFO = Info(
    summary="Any solver, its network told the time at which noise has the variance of the state.",
    family="solvers",
    papers=(
        Paper(
            title="Alleviating Exposure Bias in Diffusion Models through Sampling with Shifted Time Steps",
            authors="Mingxiao Li and Tingyu Qu and Ruicong Yao and Wei Sun and Marie-Francine Moens",
            year=2024,
            arxiv="2305.15583",
            code="Mingxiao-Li/TS-DPM",
        ),
    ),
)

PROCESS = VPDiscrete(tuple(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).tolist()))


class TimeShift(Method):
    """A solver and how far its network's time may be moved.

    Attributes:
        solver: spec of the solver.
        window: how many indices the shifts span, half of them to each side.
        cutoff: the index up to which nothing is shifted.
    """

    solver: str = "ddim"
    window: int = Field(default=30, ge=0, le=1000)
    cutoff: int = Field(default=300, ge=0, le=1000)

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if problem.x[0].numel() < 2:
            raise Unsupported("a sample of one number has no variance over its pixels")
        top = float(PROCESS.time(torch.tensor(problem.sigma_max, dtype=torch.float64)))
        shifted = self.shifted(problem.denoise, top)
        return problem.solver(self.solver).sample(replace(problem, denoise=shifted), nfe)

    def shifted(self, denoise: Denoiser, top: float) -> Denoiser:
        """``D'``, of which one evaluation is one of D; no time is moved above ``top``."""

        def moved(x: Tensor, sigma: float | Tensor) -> Tensor:
            level = per_sample(sigma, x)
            t = PROCESS.time(level)
            variance = x.flatten(1).double().var(1) / (1 + level**2)
            tau = torch.where(t.round() > self.cutoff, self._nearest(variance, t, top), t)
            seen = torch.where(tau == t, level, PROCESS.sigma(tau))
            stretch = ((1 + seen**2) / (1 + level**2)).sqrt()
            x0_hat = denoise(x * align(stretch, x), seen)
            return align(1 - stretch * level / seen, x) * x + align(level / seen, x) * x0_hat

        return moved

    def _nearest(self, variance: Tensor, t: Tensor, top: float) -> Tensor:
        """(B,): the time within the window of each t at which noise has this variance, or nearly."""
        half = self.window // 2
        times = t[:, None] + torch.arange(-half, half + 1, dtype=t.dtype, device=t.device)
        times = times.clamp(0.0, top)
        noise = PROCESS.sigma(times) ** 2
        best = (noise / (1 + noise) - variance[:, None]).abs().argmin(1, keepdim=True)
        return times.gather(1, best)[:, 0]
