r"""A multistep exponential integrator whose every step chooses for itself: levels, order, prediction type, corrector.

With ``h = lambda_t - lambda_s`` and the Lagrange polynomials L_j of the last p nodes in lambda, a step of order p is

    data    x_t = (sigma_t / sigma_s) x_s + sum_j D_j int_0^h e^{tau - h} L_j dtau
    noise   x_t = x_s - sigma_s sum_j eps_j int_0^h e^{-tau} L_j dtau,       eps_j = (x_j - D_j) / sigma_j

and a corrector is the same step once more, from s, through the node t as well, when the evaluation at t is there: the
next step starts from it. DPM-Solver(++), DEIS in log sigma, UniPC and DDIM are sequences of such steps: the family of
Liu, Ning, Yang and Wang 2023, "A Unified Sampling Framework for Solver Searching of Diffusion Probabilistic Models",
arXiv 2312.07243, of whose choices for estimating derivatives the order is the one made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from bench.coefficients import combine, data_weights, noise_weights, step_size
from bench.denoiser import Denoiser

MAX_ORDER = 3


@dataclass(frozen=True)
class Decision:
    """How one step is made.

    Attributes:
        order: how many predictions it uses, at most as many as there are.
        noise: whether the noise prediction is interpolated, not the data prediction.
        corrected: whether its end is corrected once the next evaluation is there; the last step never is.
    """

    order: int = 2
    noise: bool = False
    corrected: bool = False


@dataclass(frozen=True)
class _Node:
    sigma: float
    x: Tensor
    x0_hat: Tensor

    @property
    def eps(self) -> Tensor:
        return (self.x - self.x0_hat) / self.sigma


def _step(start: _Node, sigma_t: float, through: Sequence[_Node], noise: bool) -> Tensor:
    """From ``start`` to ``sigma_t`` by the polynomial through some nodes; (B, ...)."""
    if sigma_t == 0:  # h is infinite
        return start.x0_hat
    h = step_size(start.sigma, sigma_t)
    tau = [step_size(start.sigma, node.sigma) for node in through]
    if noise:
        weights = [-start.sigma * weight for weight in noise_weights(tau, h)]
        return combine(start.x, 1.0, weights, [node.eps for node in through])
    return combine(start.x, sigma_t / start.sigma, data_weights(tau, h), [node.x0_hat for node in through])


def integrate(denoise: Denoiser, x: Tensor, nodes: Sequence[float], decisions: Sequence[Decision]) -> Tensor:
    """Carry x (B, ...) along noise levels, one decision and one evaluation for each interval.

    Args:
        denoise: the teacher.
        x: state at ``nodes[0]``.
        nodes: K + 1 decreasing levels, the last one may be 0.
        decisions: K of them.
    """
    history: list[_Node] = []  # newest first
    for i, (sigma, decision) in enumerate(zip(nodes, decisions, strict=False)):
        x0_hat = denoise(x, sigma)
        if i > 0 and decisions[i - 1].corrected:
            now = _Node(sigma, x, x0_hat)
            used = history[: decisions[i - 1].order]
            x = _step(history[0], sigma, [now, *used], decisions[i - 1].noise)
        history = [_Node(sigma, x, x0_hat), *history[: MAX_ORDER - 1]]
        x = _step(history[0], nodes[i + 1], history[: decision.order], decision.noise)
    return x
