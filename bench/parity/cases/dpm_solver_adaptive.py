"""Adaptive DPM-Solver against the authors' code and k-diffusion, both run on one state at a time.

Their controllers see the whole batch, so only a batch of one can be compared. The budgets are ample: every state
arrives, and what is left are idle evaluations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.parity.authors import SigmaTime, double, load
from bench.parity.base import Case, Setup
from bench.parity.external import package

AUTHORS = "LuChengTHU/dpm-solver"
NFES = (101,)


def _authors(**options: Any) -> Callable[[Setup], Tensor]:
    """Their ``DPM_Solver(algorithm_type="dpmsolver").sample(method="adaptive", denoise_to_zero=True)``."""

    def run(setup: Setup) -> Tensor:
        module = load(setup, "dpm_solver_pytorch")
        high, low = setup.grid.nodes[0], setup.grid.nodes[-1]

        def eps(x: Tensor, t: Tensor) -> Tensor:
            sigma = float(t.reshape(-1)[0])
            state = x * (1 + sigma**2) ** 0.5
            return torch.div(state - setup.denoise(state, sigma), sigma)

        with double():
            solver = module.DPM_Solver(eps, SigmaTime(), algorithm_type="dpmsolver")
            common = {"t_start": high, "t_end": low, "method": "adaptive", "denoise_to_zero": True}
            starts = setup.x * (1 + high**2) ** -0.5
            return torch.cat([solver.sample(start[None], **common, **options) for start in starts])

    return run


def _k_diffusion(**options: Any) -> Callable[[Setup], Tensor]:
    """Their ``sample_dpm_adaptive``, then the denoised state at the end."""

    def run(setup: Setup) -> Tensor:
        sampler = package("k_diffusion.sampling").sample_dpm_adaptive
        high, low = setup.grid.nodes[0], setup.grid.nodes[-1]
        with double():
            ends = [sampler(setup.denoise, x[None], low, high, disable=True, **options) for x in setup.x]
        return setup.denoise(torch.cat(ends), low)

    return run


CASES = (
    *(
        Case(
            solver=f"dpm_solver_adaptive[order={order}]",
            against=AUTHORS,
            what=f"dpm_solver_adaptive(order={order})",
            reference=_authors(order=order),
            nfes=NFES,
        )
        for order in (2, 3)
    ),
    Case(
        solver="dpm_solver_adaptive[order=3,rtol=0.01,atol=0.002]",
        against=AUTHORS,
        what="dpm_solver_adaptive(order=3, rtol=0.01, atol=0.002)",
        reference=_authors(order=3, rtol=0.01, atol=0.002),
        nfes=NFES,
    ),
    *(
        Case(
            solver=f"dpm_solver_adaptive[order={order},variant=k_diffusion]",
            against="k-diffusion",
            what=f"sample_dpm_adaptive(order={order})",
            reference=_k_diffusion(order=order),
            nfes=NFES,
        )
        for order in (2, 3)
    ),
    Case(
        solver="dpm_solver_adaptive[order=2,rtol=0.02,atol=0.003,h_init=0.2,variant=k_diffusion]",
        against="k-diffusion",
        what="sample_dpm_adaptive(order=2, rtol=0.02, atol=0.003, h_init=0.2)",
        reference=_k_diffusion(order=2, rtol=0.02, atol=0.003, h_init=0.2),
        nfes=NFES,
    ),
)
