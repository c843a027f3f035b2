r"""Step-size control for each sample of a batch by itself: error norms, and three published rules.

A rule takes the error of an attempted step, in units of the tolerance, and answers ``(accept, factor)``: whether the
sample takes the step, and what its step size is multiplied with. All of them are (B,) float64, and no entry depends on
another one: a sample's steps are the same alone and in a batch. With an error of order h^q, q the ``order`` below:

=================  =====================================  =====================================================
rule               factor                                 accepts
=================  =====================================  =====================================================
``proportional``   ``safety error^{-1/q}``                errors up to 1 (Jolicoeur-Martineau et al. 2021, arXiv
                                                          2105.14080; DPM-Solver's code)
``arctangent``     ``1 + atan(error^{-1/q} - 1)``         factors from ``threshold`` on (Soderlind 2003's smooth
                                                          limiter, as in k-diffusion)
``bounded``        ``0.9 error^{-1/q}`` in [0.2, 10]      errors below 1; after a rejection the step does not grow
                                                          (Hairer, Norsett, Wanner, Sec. II.4; scipy)
=================  =====================================  =====================================================

``first_step`` is where the last of them starts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Verdict = tuple[Tensor, Tensor]


def error_norm(value: Tensor, scale: Tensor) -> Tensor:
    """(B,) float64: root mean square of ``value / scale`` over each sample, both (B, ...)."""
    return (value / scale).flatten(1).double().square().mean(1).sqrt()


def choose(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Rows of ``yes`` (B, ...) where the mask (B,) is true, of ``no`` elsewhere."""
    return torch.where(mask.view(-1, *[1] * (yes.ndim - 1)), yes, no)


def proportional(error: Tensor, order: int, safety: float) -> Verdict:
    """The rule of DPM-Solver's adaptive solvers; an error of 0 asks for an infinite step."""
    return error <= 1, safety * error ** (-1 / order)


def arctangent(error: Tensor, order: int, threshold: float = 0.81) -> Verdict:
    """The integral controller of k-diffusion; factors lie between 0.21 and 2.57."""
    factor = 1 + torch.atan((error + 1e-8) ** (-1 / order) - 1)
    return factor >= threshold, factor


def bounded(error: Tensor, order: int, rejected: Tensor) -> Verdict:
    """The rule of scipy's Runge-Kutta methods; ``rejected`` (B,) says where the attempt before was refused."""
    accept = error < 1
    factor = (0.9 * error ** (-1 / order)).clamp(0.2, 10.0)
    return accept, torch.where(accept & rejected, factor.clamp(max=1.0), factor)


def first_step(
    z: Tensor, slope: Tensor, ahead: Callable[[Tensor], Tensor], span: float, order: int, tolerance: tuple[float, float]
) -> Tensor:
    """A first step size (B,) for each sample, in units of t (Hairer, Norsett, Wanner, Sec. II.4; as in scipy).

    Args:
        z: (B, ...) states at the start.
        slope: (B, ...) dz/dt there.
        ahead: the slope at the state that one Euler step of these lengths (B,) leads to; called once.
        span: the length of the whole range, which no step exceeds.
        order: of the error estimate.
        tolerance: atol and rtol.
    """
    atol, rtol = tolerance
    scale = atol + rtol * z.abs()
    size, speed = error_norm(z, scale), error_norm(slope, scale)
    trial = torch.where((size < 1e-5) | (speed < 1e-5), 1e-6, 0.01 * size / speed).clamp(max=span)
    bend = error_norm(ahead(trial) - slope, scale) / trial
    largest = torch.maximum(speed, bend)
    step = torch.where(largest <= 1e-15, (trial * 1e-3).clamp(min=1e-6), (0.01 / largest) ** (1 / (order + 1)))
    return torch.minimum(100 * trial, step).clamp(max=span)
