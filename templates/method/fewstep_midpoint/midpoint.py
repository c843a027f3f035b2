r"""The explicit midpoint rule in ``sigma``: two evaluations per step.

Update from ``sigma_s`` to ``sigma_t``, with ``d(x, sigma) = (x - D(x, sigma)) / sigma`` and ``sigma_m`` half way:

    x_m = x + (sigma_m - sigma_s) d(x, sigma_s)
    x_t = x + (sigma_t - sigma_s) d(x_m, sigma_m)

Karras, Aittala, Aila and Laine 2022, "Elucidating the Design Space of Diffusion-Based Generative Models",
arXiv 2206.00364, Algorithm 3 with alpha = 1/2. There a step to 0 is one Euler step; here it is a midpoint step as well,
since ``sigma_m = sigma_s / 2`` is above 0, so N intervals always cost 2N evaluations.
"""

from __future__ import annotations

from torch import Tensor

from bench.api import Denoiser, Grid, Info, Paper, Solver, Unsupported
from bench.rng import SampleNoise

INFO = Info(
    summary="Explicit midpoint rule in the noise level; two evaluations per step.",
    family="solvers",
    papers=(
        Paper(
            title="Elucidating the Design Space of Diffusion-Based Generative Models",
            authors="Tero Karras and Miika Aittala and Timo Aila and Samuli Laine",
            year=2022,
            arxiv="2206.00364",
            equation="Algorithm 3",
            code="NVlabs/edm",
        ),
    ),
)


class Midpoint(Solver):
    """The solver; its only parameter is the grid."""

    @property
    def declared_order(self) -> int:
        """Two: the contract tests measure it."""
        return 2

    def intervals(self, nfe: int) -> int:
        """Half the budget.

        Raises:
            Unsupported: the budget is odd.
        """
        if nfe % 2:
            near = f"{nfe - 1} or {nfe + 1}" if nfe > 1 else "2"
            raise Unsupported(f"every step takes two evaluations; use nfe {near}")
        return nfe // 2

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        """Carry x (B, ...) along the grid."""
        for sigma_s, sigma_t in grid.steps():
            sigma_m = (sigma_s + sigma_t) / 2
            x_m = x + (sigma_m - sigma_s) / sigma_s * (x - denoise(x, sigma_s))
            x = x + (sigma_t - sigma_s) / sigma_m * (x_m - denoise(x_m, sigma_m))
        return x
