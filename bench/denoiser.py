r"""From a network's own prediction to ``D(x, sigma) -> x0_hat``, and guidance.

For ``x_t = a x0 + s eps`` (a = alpha(t), s = a sigma) a network may predict

===========  =====================================  ===========================================
name         network's output                       x0_hat
===========  =====================================  ===========================================
``eps``      eps                                    ``x - sigma eps``
``x0``       x0                                     the output
``v``        ``(a eps - s x0) / r``                 ``(a x_t - s r v) / r^2``, ``r^2 = a^2+s^2``
``velocity`` ``u = dx_t/dt = a' x0 + s' eps``       ``(s u - s' x_t) / (a' s - a s')``
===========  =====================================  ===========================================

``v`` is Salimans and Ho 2022 (arXiv 2202.00512, App. D); r = 1 for variance-preserving processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor

from bench.process import Process

Prediction = Literal["eps", "x0", "v", "velocity"]
Network = Callable[[Tensor, Tensor], Tensor]  # (x_t (B, ...), t (B,)) -> prediction (B, ...)


class Denoiser(Protocol):
    """The one teacher interface: the posterior mean of clean data given noisy data."""

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """x0_hat.

        Args:
            x: (B, ...) state ``x0 + sigma eps``, float32 or float64.
            sigma: noise level, one for all or (B,).

        Returns:
            x0_hat, shape and dtype of ``x``.
        """
        ...


def per_sample(sigma: float | Tensor, x: Tensor) -> Tensor:
    """Noise levels as a (B,) float64 tensor on the device of x: times are never held in half precision."""
    level = torch.as_tensor(sigma, dtype=torch.float64, device=x.device)
    return level.expand(x.shape[0])


def align(value: Tensor, x: Tensor) -> Tensor:
    """(B,) -> (B, 1, ..., 1) in the dtype of x, to multiply with x."""
    return value.to(x.dtype).view(-1, *[1] * (x.ndim - 1))


class Adapter:
    """A network of any process and prediction type, seen as ``D(x, sigma)``.

    Args:
        network: called with ``(x_t, t)``; x_t in ``dtype``, t in float64 or the state's dtype when ``dtype`` is lower.
        process: the process the network was trained on.
        prediction: what the network's output means.
        dtype: what the network runs in; the state keeps its own dtype.
    """

    def __init__(
        self, network: Network, process: Process, prediction: Prediction, dtype: torch.dtype | None = None
    ) -> None:
        self.network = network
        self.process = process
        self.prediction = prediction
        self.dtype = dtype

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        level = per_sample(sigma, x)
        t = self.process.time(level)
        alpha = self.process.alpha(t)
        x_t = align(alpha, x) * x
        time = t if x.dtype == torch.float64 else t.to(torch.float32)
        output = self.network(x_t if self.dtype is None else x_t.to(self.dtype), time).to(x.dtype)
        return self._x0_hat(output, x, level, t, alpha)

    def _x0_hat(self, output: Tensor, x: Tensor, sigma: Tensor, t: Tensor, alpha: Tensor) -> Tensor:
        if self.prediction == "x0":
            return output
        if self.prediction == "eps":
            return x - align(sigma, x) * output
        # in normalised coordinates x_t = a x and s = a sigma, so each coefficient keeps one factor
        noise = alpha * sigma
        if self.prediction == "v":
            radius = (alpha**2 + noise**2).sqrt()
            return align((alpha / radius) ** 2, x) * x - align(noise / radius, x) * output
        d_alpha, d_noise = self.process.derivatives(t)
        scale = d_alpha * noise - alpha * d_noise
        return align(noise / scale, x) * output - align(d_noise * alpha / scale, x) * x


class Guided:
    """Classifier-free guidance, ``D = D_u + w (D_c - D_u)`` (Ho and Salimans 2022, arXiv 2207.12598, Eq. 6).

    One call is one ``nfe`` and two ``network_evals``, batched (one forward of 2B) or sequential (two forwards of B).

    Args:
        network: ``(x, sigma (B,), label (B,)) -> x0_hat``.
        label: (B,) class of each sample.
        null: the label that stands for "no class".
        guidance_scale: w; 1 is conditional only and costs one evaluation, 0 unconditional.
        batched: both halves in one forward pass.
    """

    def __init__(
        self,
        network: Callable[[Tensor, Tensor, Tensor], Tensor],
        label: Tensor,
        null: int,
        guidance_scale: float,
        batched: bool = True,
    ) -> None:
        self.network = network
        self.label = label
        self.null = torch.full_like(label, null)
        self.guidance_scale = guidance_scale
        self.batched = batched

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        level = per_sample(sigma, x).to(x.dtype)
        if self.guidance_scale == 1.0:
            return self.network(x, level, self.label)
        if self.guidance_scale == 0.0:
            return self.network(x, level, self.null)
        if self.batched:
            both = self.network(torch.cat([x, x]), torch.cat([level, level]), torch.cat([self.label, self.null]))
            conditional, unconditional = both.chunk(2)
        else:
            conditional = self.network(x, level, self.label)
            unconditional = self.network(x, level, self.null)
        return torch.lerp(unconditional, conditional, self.guidance_scale)
