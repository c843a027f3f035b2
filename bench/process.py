r"""Diffusion processes: how a teacher's own time and scale map to the one coordinate system.

A process is ``x_t = alpha(t) x0 + sigma_t(t) eps``. Methods only ever see ``x = x_t / alpha`` and the noise-to-signal
ratio ``sigma = sigma_t / alpha`` (Karras et al. 2022, arXiv 2206.00364, Sec. 2), so a process is three functions:

===================  =====================================================  ==========
symbol               meaning                                                unit
===================  =====================================================  ==========
``t``                the teacher's own time                                 its own
``alpha(t)``         scale of the data                                      1
``sigma(t)``         ratio ``sigma_t / alpha``; 0 is clean                  data's
``time(sigma)``      the inverse of ``sigma(t)``; extrapolates past the     its own
                     grid's range, ``time(0)`` is the clean end
===================  =====================================================  ==========

All arithmetic is float64 on tensors of any shape. A process whose alpha reaches 0 states a finite ``sigma_max``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor


class Process(ABC):
    """A monotone map between time and noise level."""

    name: str

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Noise-to-signal ratio at time t, any shape, float64."""

    @abstractmethod
    def time(self, sigma: Tensor) -> Tensor:
        """Time at noise-to-signal ratio sigma, any shape, float64."""

    @property
    @abstractmethod
    def sigma_max(self) -> float:
        """The largest noise-to-signal ratio a sampler starts from; always finite."""

    def alpha(self, t: Tensor) -> Tensor:
        """Scale of the data at time t; variance preserving unless a process says otherwise."""
        return torch.rsqrt(1 + self.sigma(t) ** 2)

    def derivatives(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``(d alpha/dt, d sigma_t/dt)`` at t, which velocity prediction needs."""
        with torch.inference_mode(False), torch.enable_grad():  # samples are made in inference mode
            time = t.detach().to(torch.float64).clone().requires_grad_()
            alpha = self.alpha(time) + 0 * time  # a constant alpha has a derivative too
            noise = alpha * self.sigma(time)
            (d_alpha,) = torch.autograd.grad(alpha.sum(), time, retain_graph=True)
            (d_noise,) = torch.autograd.grad(noise.sum(), time)
        return d_alpha, d_noise


@dataclass(frozen=True)
class VPLinear(Process):
    """Variance preserving with linear beta(t), t in [0, 1] (Song et al. 2021, arXiv 2011.13456, Eq. 33)."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    name: str = field(default="vp_linear", init=False)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.expm1(0.5 * (self.beta_max - self.beta_min) * t**2 + self.beta_min * t).sqrt()

    def time(self, sigma: Tensor) -> Tensor:
        slope = self.beta_max - self.beta_min
        return ((self.beta_min**2 + 2 * slope * torch.log1p(sigma**2)).sqrt() - self.beta_min) / slope

    @property
    def sigma_max(self) -> float:
        return math.sqrt(math.expm1(0.5 * (self.beta_max + self.beta_min)))


@dataclass(frozen=True)
class VPCosine(Process):
    """Variance preserving, ``alpha = cos(pi/2 (t+s)/(1+s)) / cos(pi/2 s/(1+s))`` (Nichol and Dhariwal 2021,
    arXiv 2102.09672, Eq. 17). alpha reaches 0 at t = 1, so sampling starts at ``t_max`` (0.9946 in DPM-Solver's code).
    """

    s: float = 0.008
    t_max: float = 0.9946
    name: str = field(default="vp_cosine", init=False)

    def _offset(self) -> float:
        return 0.5 * math.pi * self.s / (1 + self.s)

    def _angle(self, t: Tensor) -> Tensor:
        return 0.5 * math.pi * (t + self.s) / (1 + self.s)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.cos(self._angle(t)) / math.cos(self._offset())

    def sigma(self, t: Tensor) -> Tensor:
        # 1 - alpha^2 as a product of sines: the difference itself cancels near t = 0
        u, c = self._angle(t), self._offset()
        return (torch.sin(u - c) * torch.sin(u + c)).clamp_min(0).sqrt() / torch.cos(u)

    def time(self, sigma: Tensor) -> Tensor:
        c = self._offset()
        u = torch.atan2((sigma**2 + math.sin(c) ** 2).sqrt(), torch.full_like(sigma, math.cos(c)))
        return u * 2 / math.pi * (1 + self.s) - self.s

    @property
    def sigma_max(self) -> float:
        return float(self.sigma(torch.tensor(self.t_max, dtype=torch.float64)))


@dataclass(frozen=True)
class VPDiscrete(Process):
    """Variance preserving with a table of betas; time is the index 0..T-1 (Ho et al. 2020, arXiv 2006.11239).

    Between indices log sigma is linear in time; below index 0 sigma falls linearly to 0 at t = -1, the clean end of
    PNDM and DDIM. With zero terminal SNR the last sigmas are infinite: sampling starts at the last finite one.
    """

    betas: tuple[float, ...]
    name: str = field(default="vp_discrete", init=False)

    @cached_property
    def _log_sigma(self) -> Tensor:
        """(T,) or shorter, on the CPU: log sigma of every index with a finite one."""
        betas = torch.tensor(self.betas, dtype=torch.float64)
        alpha_bar = torch.cumprod(1 - betas, dim=0)
        alpha_bar = alpha_bar[alpha_bar > 0]
        return 0.5 * torch.log((1 - alpha_bar) / alpha_bar)

    def sigma(self, t: Tensor) -> Tensor:
        table = self._log_sigma.to(t.device)
        low = t.floor().clamp(0, len(table) - 2).long()
        slope = table[low + 1] - table[low]
        inside = torch.exp(table[low] + (t - low) * slope)
        return torch.where(t < 0, table[0].exp() * (1 + t), inside)

    def time(self, sigma: Tensor) -> Tensor:
        table = self._log_sigma.to(sigma.device)
        log_sigma = sigma.clamp_min(torch.finfo(torch.float64).tiny).log()
        low = (torch.searchsorted(table, log_sigma.contiguous()) - 1).clamp(0, len(table) - 2)
        inside = low + (log_sigma - table[low]) / (table[low + 1] - table[low])
        return torch.where(sigma < table[0].exp(), sigma / table[0].exp() - 1, inside)

    @property
    def sigma_max(self) -> float:
        return float(self._log_sigma[-1].exp())


@dataclass(frozen=True)
class VE(Process):
    """Variance exploding, ``sigma(t) = lowest (highest/lowest)^t``, t in [0, 1] (arXiv 2011.13456, Eq. 30).

    Below ``lowest`` sigma falls linearly to 0 at t = -1, so that the clean end has a finite time.
    """

    lowest: float = 0.01
    highest: float = 50.0
    name: str = field(default="ve", init=False)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        growth = math.log(self.highest / self.lowest)
        return torch.where(t < 0, self.lowest * (1 + t), self.lowest * torch.exp(growth * t))

    def time(self, sigma: Tensor) -> Tensor:
        growth = math.log(self.highest / self.lowest)
        inside = torch.log(sigma.clamp_min(torch.finfo(torch.float64).tiny) / self.lowest) / growth
        return torch.where(sigma < self.lowest, sigma / self.lowest - 1, inside)

    @property
    def sigma_max(self) -> float:
        return self.highest


@dataclass(frozen=True)
class EDM(Process):
    """``alpha = 1``, ``sigma = t`` (Karras et al. 2022, arXiv 2206.00364, Table 1)."""

    highest: float = 80.0
    name: str = field(default="edm", init=False)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def time(self, sigma: Tensor) -> Tensor:
        return sigma

    @property
    def sigma_max(self) -> float:
        return self.highest


@dataclass(frozen=True)
class RectifiedFlow(Process):
    """``x_t = (1 - t) x0 + t eps`` (Liu et al. 2022, arXiv 2209.03003). Starts at ``t_max`` < 1: sigma is finite."""

    t_max: float = 0.999
    name: str = field(default="rectified_flow", init=False)

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t / (1 - t)

    def time(self, sigma: Tensor) -> Tensor:
        return sigma / (1 + sigma)

    def derivatives(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return -torch.ones_like(t), torch.ones_like(t)

    @property
    def sigma_max(self) -> float:
        return self.t_max / (1 - self.t_max)
