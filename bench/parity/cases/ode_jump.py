"""ODE-Jump against the samplers of diff-sampler, ended at the level of the jump and denoised there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from bench.grids import make_grid
from bench.parity.authors import diff_sampler
from bench.parity.base import Case, Setup

AUTHORS = "zju-pi/diff-sampler"


def _reference(name: str, jump: float, cost: int, **options: Any) -> Callable[[Setup], Tensor]:
    """A sampler that makes ``cost`` evaluations per interval."""

    def run(setup: Setup) -> Tensor:
        ends = setup.grid
        grid = make_grid("karras[end=sigma_min]", (setup.nfe - 1) // cost, jump, ends.nodes[0], ends.process)
        return diff_sampler(replace(setup, grid=grid), name, denoise_to_zero=True, **options)

    return run


CASES = (
    Case(
        solver="ode_jump[solver=ddim,sigma_jump=0.1]",
        against=AUTHORS,
        what="euler_sampler(sigma_min=0.1, denoise_to_zero=True)",
        reference=_reference("euler_sampler", 0.1, 1),
        nfes=(2, 3, 5, 8, 10, 20),
    ),
    Case(
        solver="ode_jump[solver=heun[grid=karras[end=sigma_min]],sigma_jump=0.3]",
        against=AUTHORS,
        what="heun_sampler(sigma_min=0.3, denoise_to_zero=True)",
        reference=_reference("heun_sampler", 0.3, 2),
        nfes=(3, 5, 9, 19),
    ),
    Case(
        solver="ode_jump[solver=ipndm[grid=karras],sigma_jump=0.1]",
        against=AUTHORS,
        what="ipndm_sampler(sigma_min=0.1, denoise_to_zero=True)",
        reference=_reference("ipndm_sampler", 0.1, 1),
        nfes=(2, 3, 5, 8, 10, 20),
    ),
)
