"""What a parity case is; see ``bench.parity.base``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from bench.api import Denoiser, Grid
from bench.process import EDM, Process
from bench.rng import SampleNoise

NFES = (1, 2, 3, 5, 8, 10, 20)
TOLERANCE = 1e-5
EDM_PROCESS = EDM()
PACKAGES = ("diffusers", "k-diffusion", "azula", "scipy")


class Unavailable(Exception):
    """The reference cannot be run here: a package or a checkout is missing."""


@dataclass(frozen=True)
class Setup:
    """One budget of a case, as the reference sees it.

    Attributes:
        denoise: ``D(x, sigma)`` of the mixture, in the precision of x.
        x: (8, 2) float64, the state at the grid's first level.
        grid: the grid that our solver uses for this budget; only the two ends where it uses none of its own.
        nfe: the budget.
        noise: the stream of normal numbers that our solver draws; a reference draws from it in the same order.
        checkout: the authors' repository, where the reference needs one.
    """

    denoise: Denoiser
    x: Tensor
    grid: Grid
    nfe: int
    noise: SampleNoise
    checkout: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison.

    Attributes:
        solver: our spec, its grid included.
        against: one of ``PACKAGES``, or the repository ``owner/name``.
        what: the function or class there, with its parameters.
        reference: their result (8, 2) for one budget; raises ``Unavailable``.
        nfes: the budgets at which both are defined.
        sigma_min, sigma_max, process: of the problem.
        tolerance: the largest difference allowed; None where the two are known to disagree.
        verdict: for a disagreement, whose fault it is and how both behaviours are reached; else any remark.
        artifact: what a calibrated method would have fitted; its reference is given the same.
    """

    solver: str
    against: str
    what: str
    reference: Callable[[Setup], Tensor]
    nfes: tuple[int, ...] = NFES
    sigma_min: float = 0.02
    sigma_max: float = 10.0
    process: Process = EDM_PROCESS
    tolerance: float | None = TOLERANCE
    verdict: str = ""
    artifact: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Names the case among those of its module."""
        return f"{self.solver} | {self.against} | {self.what}"
