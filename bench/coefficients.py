r"""Coefficients of multistep and exponential integrators: float64 Python floats, apart from any loop.

In ``lambda = -log sigma`` a step from ``sigma_s`` to ``sigma_t`` has length ``h = log(sigma_s / sigma_t)``, infinite
for the step to ``sigma_t = 0``. With ``tau = lambda - lambda_s`` the probability-flow ODE has two exact forms,

* data: ``x_t = (sigma_t / sigma_s) x_s + int_0^h e^{tau - h} D(tau) dtau``
* noise: ``x_t = x_s - sigma_s int_0^h e^{-tau} eps(tau) dtau = x_s + int_{sigma_s}^{sigma_t} eps dsigma``

and a solver of order k replaces D or eps by the polynomial through its last k values. What is left are integrals of
Lagrange polynomials L_j, one function below per weight function. The phi functions are those of exponential integrators
(Hochbruck and Ostermann 2010, Acta Numerica 19, Sec. 2.1): ``phi_0(z) = e^z``,
``phi_{k+1}(z) = (phi_k(z) - 1/k!) / z``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

LowerFinal = Annotated[int, Field(ge=0)] | Literal["always"]
"""Grids with fewer intervals than this end in orders ``..., 2, 1``; 0 means none."""


def step_order(order: int, index: int, intervals: int, lower_final: LowerFinal = 0) -> int:
    """The order of one step of a multistep solver: one more than in the step before, up to ``order``.

    Args:
        order: the order asked for.
        index: the step, from 0.
        intervals: the number of steps.
        lower_final: whether no step's order may exceed the number of steps that are left, itself included.
    """
    order = min(order, index + 1)
    if lower_final == "always" or intervals < lower_final:
        order = min(order, intervals - index)
    return order


def step_size(sigma_s: float, sigma_t: float) -> float:
    """``h = lambda_t - lambda_s``; infinite when ``sigma_t`` is 0."""
    return math.log(sigma_s / sigma_t) if sigma_t > 0 else math.inf


def phi(k: int, z: float) -> float:
    """``phi_k(z)`` for k >= 0, to about 1e-14 relative for z >= -50 and z below any overflow; ``phi_k(-inf) = 0``."""
    if z == -math.inf:
        return 0.0
    if abs(z) < 1:  # the recurrence cancels; the series has converged after 18 terms
        term = total = 1 / math.factorial(k)
        for n in range(1, 19):
            term *= z / (n + k)
            total += term
        return total
    value = math.exp(z)
    for n in range(k):
        value = (value - 1 / math.factorial(n)) / z
    return value


def _moment_data(k: int, h: float) -> float:
    """``int_0^h e^{tau - h} tau^k dtau = k! h^{k+1} phi_{k+1}(-h)``."""
    return math.factorial(k) * h ** (k + 1) * phi(k + 1, -h)


def _moment_noise(k: int, h: float) -> float:
    """``int_0^h e^{-tau} tau^k dtau``, the lower incomplete gamma function; ``k!`` for infinite h."""
    if h < 1:
        return math.exp(-h) * math.factorial(k) * h ** (k + 1) * phi(k + 1, h)
    if h == math.inf:
        return float(math.factorial(k))
    return math.factorial(k) - math.exp(-h) * sum(math.perm(k, k - n) * h**n for n in range(k + 1))


def _lagrange(nodes: Sequence[float]) -> list[list[float]]:
    """Monomial coefficients, constant first, of each L_j: the polynomial that is 1 at ``nodes[j]``, 0 at the others."""
    basis = []
    for j, at in enumerate(nodes):
        poly = [1.0]
        for other in (*nodes[:j], *nodes[j + 1 :]):
            low = [-other * c for c in poly] + [0.0]
            poly = [(a + b) / (at - other) for a, b in zip(low, [0.0, *poly], strict=True)]
        basis.append(poly)
    return basis


def moment_weights(nodes: Sequence[float], moments: Sequence[float]) -> list[float]:
    """``int L_j dmu`` of each node for the measure mu with the moments ``int u^k dmu``, k < len(nodes)."""
    return [sum(c * m for c, m in zip(poly, moments, strict=True)) for poly in _lagrange(nodes)]


def data_weights(tau: Sequence[float], h: float) -> list[float]:
    """``int_0^h e^{t - h} L_j(t) dt`` for nodes ``tau`` (relative to lambda_s); their sum is ``1 - e^{-h}``.

    The nodes are 0, negative for older values and h for the new one; h is finite.
    """
    return moment_weights(tau, [_moment_data(k, h) for k in range(len(tau))])


def noise_weights(tau: Sequence[float], h: float) -> list[float]:
    """``int_0^h e^{-t} L_j(t) dt`` for nodes ``tau`` (relative to lambda_s), also for infinite h."""
    return moment_weights(tau, [_moment_noise(k, h) for k in range(len(tau))])


def polynomial_weights(nodes: Sequence[float], end: float) -> list[float]:
    """``int_0^end L_j(u) du``, exact: variable-step Adams-Bashforth for nodes relative to the current one."""
    return moment_weights(nodes, [end ** (k + 1) / (k + 1) for k in range(len(nodes))])


@cache
def gauss_legendre(points: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights (points,) float64 on [0, 1]; exact for polynomials of degree ``2 points - 1``."""
    k = torch.arange(1, points, dtype=torch.float64)
    # Golub and Welsch 1969: eigenvalues of the Jacobi matrix, squared first components of its eigenvectors
    nodes, vectors = torch.linalg.eigh(torch.diag(k / (4 * k**2 - 1).sqrt(), -1))
    return (1 + nodes) / 2, vectors[0] ** 2


def combine(x: Tensor, scale: float, weights: Sequence[float], values: Sequence[Tensor]) -> Tensor:
    """``scale x + sum_j weights[j] values[j]``, one pass per term; shapes and dtypes as x (B, ...)."""
    out = x * scale
    for weight, value in zip(weights, values, strict=True):
        out.add_(value, alpha=weight)
    return out
