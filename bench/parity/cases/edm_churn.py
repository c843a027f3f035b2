"""The stochastic sampler of Karras et al. 2022: the authors' code and k-diffusion's.

Both draw at every step, ours only where noise is added: the draws they multiply with 0 are zeros here.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from bench.parity.authors import load
from bench.parity.base import Case, Setup
from bench.parity.cases._edm import STAND_INS, Net
from bench.parity.cases._score_sde import Torch
from bench.parity.external import k_diffusion, package

EDM = "NVlabs/edm"
ODD = (1, 3, 5, 9, 19)
IMAGENET = (40.0, 0.05, 50.0, 1.003)
CIFAR = (30.0, 0.01, 1.0, 1.007)
MILD = (2.0, 0.0, float("inf"), 1.0)


class Draws:
    """Our draws for the levels at which noise is added, zeros for the others."""

    def __init__(self, setup: Setup, low: float, high: float) -> None:
        self._levels = iter(low <= sigma <= high for sigma in setup.grid.nodes[:-1])
        self._setup = setup

    def normal(self) -> Tensor:
        """(8, 2): what this step's draw is."""
        return self._setup.noise.normal() if next(self._levels) else torch.zeros_like(self._setup.x)


def authors(setup: Setup, name: str, churn: tuple[float, ...], **options: Any) -> Tensor:
    """The final state (8, 2) of ``edm_sampler`` or ``ablation_sampler``, which make ``karras[end=append]``."""
    module = load(setup, "generate", STAND_INS)
    nodes, draws = setup.grid.nodes, Draws(setup, *churn[1:3])
    found: Tensor = getattr(module, name)(
        Net(setup),
        setup.x / nodes[0],
        randn_like=lambda x: draws.normal(),
        num_steps=len(nodes) - 1,
        sigma_min=nodes[-2],
        sigma_max=nodes[0],
        **dict(zip(("S_churn", "S_min", "S_max", "S_noise"), churn, strict=True)),
        **options,
    )
    return found


def packaged(setup: Setup, name: str, churn: tuple[float, ...]) -> Tensor:
    """The final state (8, 2) of a sampler of k-diffusion, its draws replaced."""
    sampling = package("k_diffusion.sampling")
    with mock.patch.object(sampling, "torch", Torch(Draws(setup, *churn[1:3]).normal)):
        s_churn, s_tmin, s_tmax, s_noise = churn
        return k_diffusion(setup, name, s_churn=s_churn, s_tmin=s_tmin, s_tmax=s_tmax, s_noise=s_noise)


def _spec(base: str, churn: tuple[float, ...], grid: str, ceiling: str = "false") -> str:
    names = ("s_churn", "s_tmin", "s_tmax", "s_noise")
    # a parameter is finite, and no level is above 1e9
    values = ",".join(f"{name}={min(value, 1e9)}" for name, value in zip(names, churn, strict=True))
    return f"edm_churn[base={base},{values},ceiling={ceiling},grid={grid}]"


APPEND, STOP = "karras[end=append]", "karras[end=sigma_min]"
EVERY = (1, 2, 3, 5, 8, 10, 20)
CASES = (
    *(
        Case(
            solver=_spec("heun", churn, APPEND),
            against=EDM,
            what=f"edm_sampler(S_churn, S_min, S_max, S_noise = {churn})",
            reference=partial(authors, name="edm_sampler", churn=churn),
            nfes=ODD[1:],  # with one step its grid is NaN
        )
        for churn in (IMAGENET, CIFAR, MILD)
    ),
    Case(
        solver=_spec("euler", CIFAR, APPEND),
        against=EDM,
        what=f"ablation_sampler(solver='euler', S_churn, S_min, S_max, S_noise = {CIFAR})",
        reference=partial(authors, name="ablation_sampler", churn=CIFAR, solver="euler"),
        nfes=EVERY[1:],
    ),
    *(
        Case(
            solver=_spec(base, churn, grid),
            against="k-diffusion",
            what=f"sample_{base}(s_churn, s_tmin, s_tmax, s_noise = {churn})",
            reference=partial(packaged, name=f"sample_{base}", churn=churn),
            nfes=EVERY if base == "euler" else ODD if grid == APPEND else (2, 8, 10, 20),
        )
        for base in ("heun", "euler")
        for churn, grid in ((IMAGENET, APPEND), (CIFAR, STOP), (MILD, APPEND))
    ),
    Case(
        solver=_spec("heun", IMAGENET, APPEND, "true"),
        against="k-diffusion",
        what=f"sample_heun(s_churn, s_tmin, s_tmax, s_noise = {IMAGENET}), levels above the first",
        reference=partial(packaged, name="sample_heun", churn=IMAGENET),
        nfes=ODD,
        tolerance=None,
        verdict="Theirs, and the paper's: where s_tmax allows noise at the first level, the teacher is asked for "
        "levels above it, which it was not trained on. ceiling=false is theirs; with s_tmax low enough both agree.",
    ),
)
