"""Counting: evaluations are counted by wrappers, never declared.

The ledger counts what happened to one batch: ``nfe`` denoiser calls (outer wrapper) and the rows that went through a
network (inner wrapper), from which ``network_evals`` per sample follows: guidance makes two, batched or not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from bench.denoiser import Denoiser


class BudgetExceeded(Exception):
    """A method made one denoiser call more than its budget."""


@dataclass
class Ledger:
    """What one batch has cost so far.

    Attributes:
        budget: the largest ``nfe`` allowed; None while fitting, where the cost is only recorded.
        nfe: sequential denoiser calls.
        rows: samples that went through a denoiser, summed over calls.
        network_rows: samples that went through a network, summed over forward passes.
    """

    budget: int | None = None
    nfe: int = 0
    rows: int = 0
    network_rows: int = 0

    def denoiser(self, denoise: Denoiser) -> Denoiser:
        """Count each call of a denoiser."""

        def counted(x: Tensor, sigma: float | Tensor) -> Tensor:
            if self.budget is not None and self.nfe >= self.budget:
                raise BudgetExceeded(f"asked for {self.budget} denoiser calls and made one more")
            self.nfe += 1
            self.rows += x.shape[0]
            return denoise(x, sigma)

        return counted

    def network(self, network: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Count the rows of each forward pass; the first argument is the batch."""

        def counted(x: Tensor, *args: Tensor) -> Tensor:
            self.network_rows += x.shape[0]
            return network(x, *args)

        return counted
