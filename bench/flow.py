r"""Flow coordinates: the teacher as a velocity field that is straight where the data is a point, and its true paths.

``y = tau x`` with ``tau = 1 / (1 + sigma)`` is the state ``tau x0 + (1 - tau) eps`` of a rectified flow (Liu et al.
2022, arXiv 2209.03003). Time t runs from 0 at ``sigma_max`` to 1 at sigma = 0 and tau is linear in it, so ``dy/dt =
(D - y) / (1 - t)``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from bench.denoiser import Denoiser

Scalar = TypeVar("Scalar", float, Tensor)


@dataclass(frozen=True)
class Flow:
    """The velocity field; times are floats, or float64 tensors of no dimension where gradients are wanted."""

    denoise: Denoiser
    sigma_max: float

    def tau(self, t: Scalar) -> Scalar:
        """``1 / (1 + sigma)`` at time t."""
        start = 1 / (1 + self.sigma_max)
        return start + (1 - start) * t

    def time(self, sigma: Tensor) -> Tensor:
        """The time of noise levels in [0, sigma_max], any shape."""
        start = 1 / (1 + self.sigma_max)
        return (1 / (1 + sigma) - start) / (1 - start)

    def velocity(self, t: Scalar, y: Tensor) -> Tensor:
        """``u(t, y) = dy/dt`` (B, ...) for t in [0, 1): one evaluation."""
        tau = self.tau(t)
        return (self.denoise(y / tau, (1 - tau) / tau) - y) / (1 - t)


@dataclass(frozen=True)
class Path:
    """True solutions at times t (T + 1,) from 0 to 1: states y and velocities u (T + 1, B, ...)."""

    t: Tensor
    y: Tensor
    u: Tensor

    @classmethod
    @torch.no_grad()
    def solve(cls, flow: Flow, x: Tensor, sigma: Tensor) -> Path:
        """Heun's method from x (B, ...) along noise levels (T + 1,) that end in 0; the last step denoises."""
        t = flow.time(sigma.double())
        times: list[float] = t.tolist()
        y = x * flow.tau(0.0)
        states, velocities = [y], [flow.velocity(0.0, y)]
        for now, after in itertools.pairwise(times[:-1]):
            h, u = after - now, velocities[-1]
            y = y + h / 2 * (u + flow.velocity(after, y + h * u))
            states.append(y)
            velocities.append(flow.velocity(after, y))
        states.append(y + (1 - times[-2]) * velocities[-1])
        velocities.append(velocities[-1])
        return cls(t, torch.stack(states), torch.stack(velocities))

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """y(t) and u(t), (B, ...) each, by cubic Hermite interpolation; differentiable in t (scalar)."""
        i = int((torch.searchsorted(self.t, t.detach()) - 1).clamp(0, len(self.t) - 2))
        h = self.t[i + 1] - self.t[i]
        p = (t - self.t[i]) / h
        rise = self.y[i + 1] - self.y[i]
        first, last = h * self.u[i], h * self.u[i + 1]
        y = self.y[i] + p**2 * (3 - 2 * p) * rise + p * (1 - p) ** 2 * first - p**2 * (1 - p) * last
        slope = 6 * p * (1 - p) * rise + (1 - p) * (1 - 3 * p) * first + p * (3 * p - 2) * last
        return y, slope / h
