r"""Exponential integrals of DPM-Solver-v3: what one step needs of the coefficients ``l, s, b``.

With ``lambda = -log sigma``, ``tau = lambda - lambda_s`` and integrals from ``lambda_s``::

    P = int l,   Q = int s,   R = int e^{-Q} b,   E = e^{P + Q}
    x_t = e^{-P} (x_s - int E R - sum_k c_k int E tau^k),   g = e^{-Q} f - R  approximated by  sum_k c_k tau^k

(Zheng et al. 2023, arXiv 2310.13268, Eq. 8, 9 and 14, for alpha = 1 and ``c_k = g^{(k)} / k!``.) The coefficients are
linear between their levels and constant beyond them. Integrals go cell by cell: each has Gauss-Legendre nodes, and
what accumulates within a cell is the integral of the polynomial through them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from bench.coefficients import gauss_legendre, polynomial_weights

CELL = 0.5  # no cell is longer: six points then integrate e^tau to 1e-15


@cache
def _rule() -> tuple[Tensor, Tensor, Tensor]:
    """Nodes (m,), weights (m,) and the integrals from 0 to each node (m, m) of polynomials through the nodes."""
    nodes, weights = gauss_legendre(6)
    inner = [polynomial_weights(nodes.tolist(), end) for end in nodes.tolist()]
    return nodes, weights, torch.tensor(inner, dtype=torch.float64)


@dataclass(frozen=True)
class Integrals:
    """Of one step, each of the shape of one sample; ``moments[k] = int E tau^k``."""

    p: Tensor
    q: Tensor
    r: Tensor
    bias: Tensor
    moments: list[Tensor]

    def advance(self, x: Tensor, taylor: Sequence[Tensor]) -> Tensor:
        """x (B, ...) at the end of the step, from x at its start and the coefficients c_k (B, ...) of g."""
        scale = (-self.p).exp()
        out = scale.to(x) * x - (scale * self.bias).to(x)
        for c, moment in zip(taylor, self.moments, strict=False):
            out = out - (scale * moment).to(x) * c
        return out

    def into_frame(self, f: Tensor) -> Tensor:
        """``g`` of f (B, ...) at the end of the step, in the frame of its start."""
        return (-self.q).exp().to(f) * f - self.r.to(f)

    def next_frame(self, g: Tensor) -> Tensor:
        """g (B, ...) in the frame of the step's start, seen from its end."""
        return self.q.exp().to(g) * (g + self.r.to(g))


@dataclass(frozen=True)
class Statistics:
    """The coefficients on a fine grid.

    Attributes:
        lam: (N + 1,) float64, increasing.
        linear, scale, bias: l, s, b; (N + 1, ...) float64, or (N + 1,) for one value for all coordinates.
    """

    lam: Tensor
    linear: Tensor
    scale: Tensor
    bias: Tensor

    @classmethod
    def from_artifact(cls, artifact: Mapping[str, Tensor]) -> Statistics:
        """From ``sigma`` (N + 1,), decreasing, and ``l, s, b``."""
        sigma, *values = (artifact[name].to(torch.float64) for name in ("sigma", "l", "s", "b"))
        return cls(-sigma.log(), *values)

    @classmethod
    def degenerate(cls) -> Statistics:
        """``l = 1, s = b = 0`` at every level: integrals of the data prediction, as in DPM-Solver++."""
        one = torch.ones(2, dtype=torch.float64)
        return cls(torch.tensor([0.0, 1.0], dtype=torch.float64), one, 0 * one, 0 * one)

    def _at(self, values: Tensor, lam: Tensor) -> Tensor:
        """Interpolated values (..., *shape) at ``lam`` (...)."""
        right = torch.searchsorted(self.lam, lam.contiguous()).clamp(1, len(self.lam) - 1)
        low, high = self.lam[right - 1], self.lam[right]
        share = ((lam - low) / (high - low)).clamp(0, 1)
        share = share.view((*share.shape, *[1] * (values.ndim - 1)))
        return torch.lerp(values[right - 1], values[right], share)

    def linear_at(self, sigma: float) -> Tensor:
        """``l`` at a noise level."""
        return self._at(self.linear, torch.tensor(-math.log(sigma), dtype=torch.float64))

    def _cells(self, start: float, end: float) -> Tensor:
        """(M + 1,) edges from start to end, among them every level in between, none further apart than ``CELL``."""
        inner = [lam for lam in self.lam.tolist() if start < lam < end]
        edges = [start]
        for low, high in pairwise([start, *inner, end]):
            count = math.ceil((high - low) / CELL)
            edges += [low + (high - low) * k / count for k in range(1, count + 1)]
        return torch.tensor(edges, dtype=torch.float64)

    def integrals(self, sigma_s: float, sigma_t: float, count: int) -> Integrals:
        """Of the step from ``sigma_s`` down to ``sigma_t > 0``, with ``count`` moments."""
        nodes, weights, inner = _rule()
        edges = self._cells(-math.log(sigma_s), -math.log(sigma_t))
        widths = edges.diff()
        lam = edges[:-1, None] + widths[:, None] * nodes  # (M, m)
        tall = [1] * (self.linear.ndim - 1)
        step = widths.view((-1, *tall))

        def total(values: Tensor) -> tuple[Tensor, Tensor]:  # to every node (M, m, ...) and to the end (...)
            cells = step * torch.einsum("j,ij...->i...", weights, values)
            before = torch.cat([torch.zeros_like(cells[:1]), cells.cumsum(0)])
            return before[:-1, None] + step[:, None] * torch.einsum("kj,ij...->ik...", inner, values), before[-1]

        p, p_end = total(self._at(self.linear, lam))
        q, q_end = total(self._at(self.scale, lam))
        r, r_end = total((-q).exp() * self._at(self.bias, lam))
        grow = (p + q).exp()
        tau = (lam - edges[0]).view((*lam.shape, *tall))
        moments = [total(grow * tau**k)[1] for k in range(count)]
        return Integrals(p_end, q_end, r_end, total(grow * r)[1], moments)


def taylor(tau: Sequence[float], values: Sequence[Tensor], pseudo: bool = False) -> list[Tensor]:
    """Coefficients ``g^{(k)} / k!`` at ``tau[0] = 0`` from g (B, ...) at distinct ``tau``, constant first.

    Of the polynomial through all values (Eq. 13), or if ``pseudo`` the k-th of that through the first k + 1 alone,
    which is Newton's divided difference (Eq. 15 and 16).
    """
    row, newton = list(values), [values[0]]
    for k in range(1, len(row)):
        row = [(b - a) / (tau[j + k] - tau[j]) for j, (a, b) in enumerate(pairwise(row))]
        newton.append(row[0])
    if pseudo:
        return newton
    poly: list[Tensor] = []
    for c, at in reversed(list(zip(newton, tau, strict=True))):  # Horner: poly <- c + (tau - at) poly
        poly = [a - at * b for a, b in zip([c, *poly], poly, strict=False)] + ([poly[-1]] if poly else [c])
    return poly
