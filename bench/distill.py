"""What the distilled students share: parameters of their training, restoring weights, and steps of the teacher's ODE.

A student keeps the teacher's architecture, so its artifact is a state dict, stored as float16 (the networks compute in
float32). The loop itself, with Adam, warm-up, cosine decay and averaged weights, is ``bench.nets.optimise``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from bench.api import FitTask, Method, Problem, Unsupported
from bench.denoiser import Denoiser, align
from bench.nets.optimise import Plan, optimise


class Distilled(Method):
    """A student of the teacher's architecture.

    Attributes:
        steps: updates of the weights.
        batch: samples per update.
        rate: Adam's learning rate at its peak.
        decay: of the moving average of the weights, which is what is kept.
    """

    steps: int = Field(default=2000, ge=1)
    batch: int = Field(default=128, ge=1)
    rate: float = Field(default=1e-3, gt=0)
    decay: float = Field(default=0.999, ge=0, lt=1)

    def train(
        self, task: FitTask, network: nn.Module, loss: Callable[[], Tensor], factor: int = 1
    ) -> dict[str, Tensor]:
        """Minimise ``loss()`` over the weights of ``network`` in ``factor * steps`` updates; the averaged weights."""
        steps = factor * self.steps
        plan = Plan(steps, self.rate, min(200, steps // 10), self.decay, self.batch)
        state, _ = optimise(network, loss, plan, task.progress)
        return {name: value.to(torch.float16) for name, value in state.items()}


def restored(task: FitTask, weights: Mapping[str, Tensor]) -> nn.Module:
    """A trainable network with an artifact's weights."""
    network = task.student()
    network.load_state_dict({name: value.to(torch.float32) for name, value in weights.items()})
    return network


def student(problem: Problem) -> Denoiser:
    """The student of the problem's artifact.

    Raises:
        Unsupported: nothing has been fitted for this budget.
    """
    if not problem.artifact:
        raise Unsupported("no student has been fitted for these parameters and this budget; bench fit makes one")
    return problem.student(problem.artifact)


def ddim_step(x: Tensor, x0_hat: Tensor, sigma_s: Tensor, sigma_t: Tensor) -> Tensor:
    """``x_t = x0_hat + (sigma_t / sigma_s) (x_s - x0_hat)``: Euler, or DDIM, from sigma_s to sigma_t (B,)."""
    return torch.lerp(x0_hat, x, align(sigma_t / sigma_s, x))


def heun_step(denoise: Denoiser, x: Tensor, sigma_s: Tensor, sigma_t: Tensor) -> Tensor:
    """Heun's step from sigma_s to sigma_t > 0 (B,); Karras et al. 2022, arXiv 2206.00364, Algorithm 1."""
    slope = (x - denoise(x, sigma_s)) / align(sigma_s, x)
    h = align(sigma_t - sigma_s, x)
    x_t = x + h * slope
    return x + 0.5 * h * (slope + (x_t - denoise(x_t, sigma_t)) / align(sigma_t, x))


def ddim(denoise: Denoiser, x: Tensor, nodes: Sequence[float]) -> Tensor:
    """Carry x (B, ...) along decreasing noise levels, one evaluation for each interval."""
    levels = torch.tensor(nodes, dtype=torch.float64, device=x.device)
    for sigma_s, sigma_t in pairwise(levels):
        x = ddim_step(x, denoise(x, sigma_s), sigma_s.expand(len(x)), sigma_t.expand(len(x)))
    return x


def normal_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers of the shape, dtype and device of x, from the fit's own generator."""
    return torch.randn(x.shape, generator=generator).to(x)


def pseudo_huber(error: Tensor) -> Tensor:
    """(B, ...) -> (B,): ``sqrt(|error|^2 + c^2) - c`` with ``c = 0.00054 sqrt(d)`` (arXiv 2310.14189, Sec. 3.3)."""
    flat = error.flatten(1)
    c = 0.00054 * flat.shape[1] ** 0.5
    distance: Tensor = (flat.square().sum(1) + c**2).sqrt() - c
    return distance
