r"""Runge-Kutta steps of the flow along a change of time and scale; see Bespoke solvers, arXiv 2310.19075.

A change of time t_r and scale s_r, r in [0, 1], makes of a path y(t) the path ``s_r y(t_r)``, which follows the field

    f(r, z) = (s'_r / s_r) z + t'_r s_r u(t_r, z / s_r)

and is divided by s at the end of a step. A rule must have no stage at the end of its step, where the last one would be
asked for at sigma = 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Literal

import torch
from torch import Tensor

from bench.flow import Flow, Scalar

LIPSCHITZ = 1.0
Base = Literal["rk1", "rk2", "rk3"]
# stage j starts from the slope of stage j - 1 and lies at c_j = j / (number of stages); these are the weights b_j
RULES = {"rk1": (1.0,), "rk2": (0.0, 1.0), "rk3": (0.25, 0.0, 0.75)}
BY_STAGES = {len(weights): weights for weights in RULES.values()}


@dataclass(frozen=True)
class Node(Generic[Scalar]):
    """t, s and their slopes in r at one node."""

    t: Scalar
    s: Scalar
    dt: Scalar
    ds: Scalar

    @property
    def bound(self) -> Scalar:
        """Lipschitz constant of the transformed field."""
        return abs(self.ds) / self.s + self.dt * LIPSCHITZ


@dataclass(frozen=True)
class Step(Generic[Scalar]):
    """One step of length h: the nodes of its stages, and the time and scale at its end."""

    h: float
    nodes: tuple[Node[Scalar], ...]
    t_end: Scalar
    s_end: Scalar

    @property
    def start(self) -> Node[Scalar]:
        """The node of the first stage."""
        return self.nodes[0]

    def __call__(self, flow: Flow, y: Tensor, u: Tensor) -> Tensor:
        """From y to the end, given ``u = u(t_i, y)``; all (B, ...)."""
        first, *weights = BY_STAGES[len(self.nodes)]
        scaled = self.start.s * y
        slope = self.start.ds * y + self.start.dt * self.start.s * u
        out = scaled + self.h * first * slope
        for j, (node, weight) in enumerate(zip(self.nodes[1:], weights, strict=True), 1):
            z = scaled + self.h * j / len(self.nodes) * slope
            slope = node.ds / node.s * z + node.dt * node.s * flow.velocity(node.t, z / node.s)
            out = out + self.h * weight * slope
        return out / self.s_end

    @property
    def bound(self) -> Scalar:
        """L_i: by how much the step may stretch a difference."""
        slope = self.start.bound
        growth = 1 + self.h * BY_STAGES[len(self.nodes)][0] * slope
        for j, (node, weight) in enumerate(zip(self.nodes, BY_STAGES[len(self.nodes)], strict=True)):
            if j:
                slope = node.bound * (1 + self.h * j / len(self.nodes) * slope)
                growth = growth + self.h * weight * slope
        return self.start.s / self.s_end * growth


def transform(raw: Tensor) -> dict[str, Tensor]:
    """t (K + 1,), s (K + 1,), dt (K,), ds (K,) from unconstrained numbers (4, K); zeros are the identity."""
    zero = raw.new_zeros(1)
    rises = raw[0].softmax(0)
    t = torch.cat([zero, rises.cumsum(0)[:-1], zero + 1])
    return {"t": t, "s": torch.cat([zero, raw[1]]).exp(), "dt": raw[2].exp(), "ds": raw[3]}


def steps(t: list[Scalar], s: list[Scalar], dt: list[Scalar], ds: list[Scalar], stages: int) -> Iterator[Step[Scalar]]:
    """The n steps of a transform with K = n stages nodes."""
    nodes = [Node(*values) for values in zip(t[:-1], s[:-1], dt, ds, strict=True)]
    h = stages / len(nodes)
    for k in range(0, len(nodes), stages):
        yield Step(h, tuple(nodes[k : k + stages]), t[k + stages], s[k + stages])
