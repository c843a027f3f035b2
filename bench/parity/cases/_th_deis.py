"""qsh-zh/deis on our problem: its coefficients are computed by jax, in double precision here."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from torch import Tensor

from bench.parity.authors import load
from bench.parity.base import Setup, Unavailable


def _prepare() -> None:
    """Double precision, and a name that their code takes from the inside of jax.

    Raises:
        Unavailable: jax is not installed.
    """
    try:
        jax = importlib.import_module("jax")  # only needed where their code runs
        inside = importlib.import_module("jax._src.numpy.lax_numpy")
    except ImportError as error:
        raise Unavailable("qsh-zh/deis needs jax; pip install jax") from error
    jax.config.update("jax_enable_x64", True)
    if not hasattr(inside, "_promote_dtypes_inexact"):  # for tables of betas, which are not used here
        inside._promote_dtypes_inexact = None  # type: ignore[attr-defined]


def th_deis(setup: Setup, method: str, points: int = 10_000, **options: Any) -> Tensor:
    """The final state (8, 2) of ``th_deis.get_sampler`` on a grid uniform in time of the VP process.

    Args:
        setup: the problem; its process is ``VPLinear()``.
        method: ``"t_ab"``, ``"rho_ab"``, ``"rho_rk"`` or ``"ipndm"``.
        points: of the Riemann sums; a constant of their code.
        options: further arguments.
    """
    _prepare()
    package = load(setup, "th_deis")
    per_step = package.multistep.get_coef_per_step_fn
    package.multistep.get_coef_per_step_fn = lambda *args: functools.partial(per_step(*args), num_item=points)
    times = setup.grid.t
    to_alpha, to_time = package.get_linear_alpha_fns(0.1, 20.0)
    sde = package.VPSDE(to_alpha, to_time, float(times[-1]), float(times[0]))
    alpha = (1 + setup.grid.sigma**2).rsqrt()

    def eps_fn(x: Tensor, t: Tensor) -> Tensor:
        sigma = float(setup.grid.process.sigma(t.double()))
        state = x * (1 + sigma**2) ** 0.5
        eps: Tensor = (state - setup.denoise(state, sigma)) / sigma
        return eps

    sampler = package.get_sampler(
        sde, eps_fn, ts_phase="t", ts_order=1, num_step=len(times) - 1, method=method, **options
    )
    found: Tensor = sampler(setup.x * alpha[0])
    return found / alpha[-1]
