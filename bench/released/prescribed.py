r"""The samplers that authors of released students prescribe, in the one coordinate system.

With ``x = x0 + sigma eps``, ``D = denoise(x, sigma)`` and ``e = (x - D) / sigma``:

==================  ====================================================================  ==========================
name                one step from sigma to sigma'                                         in diffusers
==================  ====================================================================  ==========================
``consistency``     ``x' = f + sqrt(sigma'^2 - floor^2) z``, ``f = c_out D + c_skip x_t``  LCM, SCM, CMStochastic
``tcd``             ``x' = D + sigma_s e + sqrt(sigma'^2 - sigma_s^2) z``                 TCD
``euler``           ``x' = D + sigma' e``                                                 Euler, DDIM, FlowMatchEuler
``ancestral``       ``x' = D + sigma_down e + sigma_up z``                                EulerAncestral
``dpm_solver_pp``   ``x' = (sigma'/sigma) x - (e^-h - 1) D_2``, multistep of order 2      DPMSolverMultistep
``perflow``         a straight line to the end of a time window                           PeRFlowScheduler (authors')
==================  ====================================================================  ==========================

z is fresh noise, ``sigma_s`` the level of index ``floor((1 - eta) t')``, ``h = log(sigma/sigma')``. LCM: Luo et al.
2023 (arXiv 2310.04378, App. D); TCD: Zheng et al. 2024 (2402.19159, Algorithm 4); ancestral: Song et al. 2021
(2010.02502, Eq. 16); PeRFlow: Yan et al. 2024 (2405.07510, Sec. 3.2), constants from the authors' scheduler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bench.denoiser import Denoiser
from bench.process import Process
from bench.released.checkpoint import Checkpoint

FLOW_START = 1e6
"""Sigma that stands for flow time 1, where the data's share is 0: the network's input and time differ by 1e-6."""

_LCM_DATA = 0.5  # sigma_data of the boundary of latent consistency models


@dataclass(frozen=True)
class Route:
    """The noise levels of a checkpoint for one budget.

    Attributes:
        process: the student's own process, which gives index and scale of each level.
        times: the prescribed times, in the checkpoint's unit.
    """

    checkpoint: Checkpoint
    process: Process
    times: tuple[float, ...]

    def level(self, time: float) -> float:
        """Sigma at a prescribed time."""
        if self.checkpoint.unit == "sigma":
            return time
        if self.checkpoint.unit == "flow":
            share = time / 1000
            return share / (1 - share) if share < 1 - 1 / FLOW_START else FLOW_START
        return float(self.process.sigma(torch.tensor(time, dtype=torch.float64)))

    def called(self, time: float) -> float:
        """The index at which the network is called at a prescribed time."""
        factor = self.checkpoint.called_at
        return time if factor == 1.0 else math.floor(factor * time)

    def scale(self, level: float) -> float:
        """alpha at a noise level."""
        time = self.process.time(torch.tensor(level, dtype=torch.float64))
        return float(self.process.alpha(time))

    @cached_property
    def sigma(self) -> list[float]:
        """Sigma at each prescribed time."""
        return [self.level(time) for time in self.times]

    @property
    def last(self) -> float:
        """Where the last step ends."""
        return self.level(0) if self.checkpoint.end == "index0" else 0.0

    def start(self, unit: Tensor) -> Tensor:
        """The first state from standard normal noise ``unit`` (B, ...)."""
        level = self.sigma[0]
        return unit * (level if self.checkpoint.start == "scaled" else 1 / self.scale(level))

    def finish(self, x: Tensor) -> Tensor:
        """What is decoded: the last state, at the scale of its index if the sampler ends there."""
        return x * self.scale(self.last) if self.checkpoint.end == "index0" else x

    def steps(self) -> list[tuple[float, float]]:
        """``(sigma, sigma')`` of every step."""
        return list(zip(self.sigma, [*self.sigma[1:], self.last], strict=True))


Noise = Callable[[], Tensor]
Prescribed = Callable[[Denoiser, Tensor, Noise, Route], Tensor]


def _boundary(factor: float, time: float) -> tuple[float, float]:
    """``(c_skip, c_out)`` of a latent consistency model at an index."""
    scaled, data = (factor * time) ** 2, _LCM_DATA**2
    return data / (scaled + data), math.sqrt(scaled / (scaled + data))


def consistency(denoise: Denoiser, x: Tensor, noise: Noise, route: Route) -> Tensor:
    """Denoise fully, add fresh noise, repeat."""
    card = route.checkpoint
    clean = x
    for step, (time, level) in enumerate(zip(route.times, route.sigma, strict=True)):
        if step:
            x = clean + math.sqrt(max(level**2 - card.sigma_floor**2, 0.0)) * noise()
        index = route.called(time)
        inner = route.level(index)
        clean = denoise(x * (route.scale(level) / route.scale(inner)), inner)  # the same x_t at another index
        if card.clip:
            clean = clean.clamp(-1, 1)
        if card.boundary:
            skip, out = _boundary(card.boundary, index)
            clean = out * clean + skip * route.scale(level) * x
    return clean


def tcd(denoise: Denoiser, x: Tensor, noise: Noise, route: Route) -> Tensor:
    """Jump to an earlier level than the next one, then add the noise in between."""
    eta = route.checkpoint.eta
    following = [*route.times[1:], 0.0]
    for step, (level, time) in enumerate(zip(route.sigma, following, strict=True)):
        clean = denoise(x, level)
        inner = route.level(math.floor((1 - eta) * time))
        x = clean + (inner / level) * (x - clean)
        if eta > 0 and step < len(following) - 1:
            x = x + math.sqrt(max(route.level(time) ** 2 - inner**2, 0.0)) * noise()
    return x


def euler(denoise: Denoiser, x: Tensor, noise: Noise, route: Route) -> Tensor:
    """Straight lines to the next level; DDIM, and Euler steps of a flow, are the same thing."""
    for level, following in route.steps():
        clean = denoise(x, level)
        x = clean + (following / level) * (x - clean)
    return x


def ancestral(denoise: Denoiser, x: Tensor, noise: Noise, route: Route) -> Tensor:
    """Euler below the next level, then noise up to it."""
    for level, following in route.steps():
        clean = denoise(x, level)
        up = following * math.sqrt(1 - (following / level) ** 2)
        down = math.sqrt(following**2 - up**2)
        x = clean + (down / level) * (x - clean)
        if following > 0:
            x = x + up * noise()
    return x


def dpm_solver_pp(denoise: Denoiser, x: Tensor, noise: Noise, route: Route) -> Tensor:
    """DPM-Solver++(2M), the first and the last step of order 1."""
    previous: Tensor | None = None
    before = 0.0
    for level, following in route.steps():
        clean = denoise(x, level)
        target = clean
        if previous is not None and following > 0:
            ratio = math.log(before / level) / math.log(level / following)
            target = clean + (clean - previous) / (2 * ratio)
        x = (following / level) * x + (1 - following / level) * target
        previous, before = clean, level
    return x


def _window(t: float, windows: int) -> tuple[float, float]:
    """Start and end of the time window that t lies in, both in (0, 1]."""
    end = next(i for i in reversed(range(windows)) if i / windows < t - 1e-4) / windows
    return end + 1 / windows, end


def _straight(form: str, start: float, end: float) -> tuple[float, float]:
    """``(lambda, eta)`` of ``x_end = lambda x_start + eta e`` for alpha^2 at both ends of a window."""
    gain = math.sqrt(end / start)
    if form == "diff_eps":
        return gain, -math.sqrt(1 - start / end) * gain
    return gain, math.sqrt(1 - end) - gain * math.sqrt(1 - start)


def perflow(denoise: Denoiser, x: Tensor, noise: Noise, route: Route) -> Tensor:
    """A piecewise straight flow in the network's own coordinates ``x_t``."""
    card = route.checkpoint

    def squared(t: float) -> float:
        return route.scale(route.level(max(int(1000 * t) - 1, 0))) ** 2

    state = x * route.scale(route.sigma[0])
    for time, level, following in zip(route.times, route.sigma, [*route.times[1:], 0.0], strict=True):
        scaled = state / route.scale(level)
        noise_hat = (scaled - denoise(scaled, level)) / level
        t = time / 1000
        first, end = _window(t, card.windows)
        gain, push = _straight(card.window_form, squared(first), squared(end))
        share = gain * (t - first) + (end - t)
        target = (gain * (end - first) / share) * state + (push * (end - t) / share) * noise_hat
        state = state + (following / 1000 - t) / (end - t) * (target - state)
    return state


SAMPLERS: Mapping[str, Prescribed] = {
    "consistency": consistency,
    "tcd": tcd,
    "euler": euler,
    "ancestral": ancestral,
    "dpm_solver_pp": dpm_solver_pp,
    "perflow": perflow,
}


def run(denoise: Denoiser, unit: Tensor, noise: Noise, route: Route) -> Tensor:
    """The prescribed sampler from standard normal noise.

    Args:
        denoise: the student.
        unit: (B, ...) standard normal noise.
        noise: fresh noise, (B, ...) at each call.
        route: the levels of this budget.

    Returns:
        (B, ...) what the authors' pipeline decodes.
    """
    return route.finish(SAMPLERS[route.checkpoint.sampler](denoise, route.start(unit), noise, route))
