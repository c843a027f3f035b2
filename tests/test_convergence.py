"""The instrument that measures orders gives the known order of methods whose order is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.api import Denoiser, Grid, Solver
from bench.coefficients import polynomial_weights
from bench.convergence import GRIDS, SIGMA_END, SIGMA_MAX, make, measured_order
from bench.rng import SampleNoise


class AdamsBashforth(Solver):
    """Variable-step Adams-Bashforth on ``dx/dsigma = eps`` with exact weights, or with the two slips of ``ipndm_v``."""

    order: int
    slip: bool = False

    def weights(self, nodes: list[float], h: float) -> list[float]:
        exact = polynomial_weights(nodes, h)
        if not self.slip or len(nodes) < 3:
            return exact
        return polynomial_weights([0.0, nodes[1], 2 * nodes[1]], h)  # the older step taken as long as the newer

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        history: list[tuple[float, Tensor]] = []
        for sigma_s, sigma_t in grid.steps():
            history = [(sigma_s, (x - denoise(x, sigma_s)) / sigma_s), *history[: self.order - 1]]
            weights = self.weights([sigma - sigma_s for sigma, _ in history], sigma_t - sigma_s)
            x = x + sum(weight * eps for weight, (_, eps) in zip(weights, history, strict=True))
        return x


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_exact_weights_have_their_order(order: int, kind: str) -> None:
    assert measured_order(AdamsBashforth(order=order), kind) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("kind", GRIDS)
def test_a_wrong_weight_costs_an_order(kind: str) -> None:
    assert measured_order(AdamsBashforth(order=3, slip=True), kind) < 2.3


@pytest.mark.parametrize("kind", GRIDS)
def test_grids_are_what_they_say(kind: str) -> None:
    grid = make(kind, 64)
    assert (grid.nodes[0], grid.nodes[-1]) == pytest.approx((SIGMA_MAX, SIGMA_END))
    if kind == "uneven":  # the step in Karras' variable jumps by a factor of 2 or more somewhere
        steps = -torch.diff(grid.sigma ** (1 / 7))
        ratio = steps[1:] / steps[:-1]
        assert float(torch.maximum(ratio, 1 / ratio).max()) > 1.5
