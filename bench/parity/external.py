"""How the public packages are called on our problem, in our coordinates; each is imported when it is first used.

diffusers scales its states by ``alpha = 1 / sqrt(1 + sigma^2)`` and has eps predicted; its own noise levels and times
are replaced by ours, since it rounds them to its table of betas. k-diffusion and azula work in sigma.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import warnings
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from bench.parity.case import PACKAGES, Setup, Unavailable


def package(name: str) -> ModuleType:
    """An optional package or one of its modules, imported quietly.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        raise Unavailable(f"{name.partition('.')[0]} is not installed; pip install 'fewstep-bench[test]'") from error


def version(against: str) -> str:
    """The installed version of a package, or empty for a repository."""
    if against not in PACKAGES:
        return ""
    try:
        return importlib.metadata.version(against)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def diffusers(setup: Setup, name: str, noisy: bool = False, **config: Any) -> Tensor:
    """A diffusers scheduler along our grid.

    Args:
        setup: the problem.
        name: of the scheduler's class.
        noisy: whether it takes our normal numbers as ``variance_noise``, one draw per step.
        config: what the scheduler is made with.
    """
    factory = getattr(package("diffusers"), name)
    grid = setup.grid
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what is deprecated is compared as long as it is there
        scheduler = factory(**{"beta_schedule": "scaled_linear", "prediction_type": "epsilon", **config})
    scheduler.set_timesteps(len(grid) - 1)
    scheduler.sigmas = grid.sigma.clone()
    scheduler.timesteps = torch.arange(len(grid) - 1, 0, -1)
    alpha = (1 + grid.sigma**2).rsqrt()
    sample = setup.x * alpha[0]
    for i, sigma in enumerate(grid.nodes[:-1]):
        state = sample / alpha[i]
        eps = (state - setup.denoise(state, sigma)) / sigma
        extra = {"variance_noise": setup.noise.normal()} if noisy else {}
        sample = scheduler.step(eps, scheduler.timesteps[i], sample, **extra).prev_sample
    found: Tensor = sample / alpha[-1]
    return found


def k_diffusion(setup: Setup, name: str, noisy: bool = False, **options: Any) -> Tensor:
    """A sampler of ``k_diffusion.sampling`` along our grid.

    Args:
        setup: the problem.
        name: of the function, such as ``"sample_heun"``.
        noisy: whether it takes our normal numbers as ``noise_sampler``.
        options: further arguments.
    """
    sampler = getattr(package("k_diffusion.sampling"), name)
    if noisy:
        options["noise_sampler"] = lambda *_: setup.noise.normal()
    found: Tensor = sampler(setup.denoise, setup.x, setup.grid.sigma, disable=True, **options)
    return found


def azula(setup: Setup, name: str, noisy: bool = False, **options: Any) -> Tensor:
    """A sampler of ``azula.sample`` along our grid, its time our noise level, on a variance-preserving schedule.

    Args:
        setup: the problem.
        name: of the class, such as ``"zABSampler"``.
        noisy: whether its draws of ``torch.randn_like`` are our normal numbers.
        options: further arguments.
    """
    factory = getattr(package("azula.sample"), name)
    posterior = package("azula.denoise").DiracPosterior

    class Teacher:
        @staticmethod
        def schedule(t: Tensor) -> tuple[Tensor, Tensor]:
            alpha = (1 + t**2).rsqrt()
            return alpha, t * alpha

        def __call__(self, x: Tensor, t: Tensor) -> Any:
            return posterior(mean=setup.denoise(x * (1 + t**2).sqrt(), float(t)))

    class OnOurGrid(factory):  # type: ignore[misc, valid-type]
        timesteps = setup.grid.sigma

    alpha = (1 + setup.grid.sigma**2).rsqrt()
    draws = mock.patch("torch.randn_like", lambda x: setup.noise.normal()) if noisy else contextlib.nullcontext()
    with draws:
        found: Tensor = OnOurGrid(Teacher(), silent=True, **options)(setup.x * alpha[0])
    return found / alpha[-1]
