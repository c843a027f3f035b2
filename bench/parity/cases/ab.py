"""Exact variable-step Adams-Bashforth under its other names."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from bench.parity.authors import diff_sampler, load
from bench.parity.base import Case, Setup
from bench.parity.external import k_diffusion, package


class _Denoiser:
    """What azula's samplers ask of a denoiser; the time is the number of the node."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def schedule(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma of each node."""
        sigma = self.setup.grid.sigma[t.long()]
        return torch.ones_like(sigma), sigma

    def __call__(self, x: Tensor, t: Tensor, **kwargs: Any) -> SimpleNamespace:
        """A posterior, of which only the mean is used."""
        return SimpleNamespace(mean=self.setup.denoise(x, float(self.schedule(t)[1])))


def _azula(setup: Setup, name: str, order: int) -> Tensor:
    n = len(setup.grid) - 1
    sampler = getattr(package("azula.sample"), name)
    found: Tensor = sampler(
        _Denoiser(setup), order=order, start=0.0, stop=float(n), steps=n, silent=True, dtype=torch.float64
    )(setup.x)
    return found


def _diff_sampler(setup: Setup, order: int, afs: bool = False) -> Tensor:
    """``deis_sampler`` with the weights of the order below, which are those that it needs."""
    module = load(setup, "diff-solvers-main/solvers")
    weights = module.get_deis_coeff_list(setup.grid.sigma, order - 1, deis_mode="rhoab")
    return diff_sampler(setup, "deis_sampler", max_order=order, coeff_list=weights, afs=afs)


CASES = (
    *(
        Case(
            solver=f"ab[order={order},grid={grid}]",
            against="k-diffusion",
            what=f"sample_lms(order={order})",
            reference=lambda setup, order=order: k_diffusion(setup, "sample_lms", order=order),  # type: ignore[misc]
        )
        for order, grid in ((1, "karras"), (2, "karras"), (3, "karras"), (4, "karras"), (4, "karras[end=append]"))
    ),
    *(
        Case(
            solver=f"ab[order={order},coordinate={coordinate},grid={grid}]",
            against="azula",
            what=f"{name}(order={order})",
            reference=lambda setup, name=name, order=order: _azula(setup, name, order),  # type: ignore[misc]
        )
        for coordinate, name in (("sigma", "zABSampler"), ("flow", "vABSampler"))
        for order in (1, 2, 3, 4)
        for grid in (("karras", "vp_uniform[end=sigma_min]") if order > 1 else ("karras",))
    ),
    *(
        Case(
            solver=f"ab[order={order},afs={str(afs).lower()},grid=karras[end=sigma_min]]",
            against="zju-pi/diff-sampler",
            what=f"deis_sampler(max_order={order}, afs={afs}), rhoab weights made with max_order={order - 1}",
            reference=lambda setup, order=order, afs=afs: _diff_sampler(setup, order, afs),  # type: ignore[misc]
        )
        for order, afs in ((2, False), (3, False), (4, False), (4, True))
    ),
    Case(
        solver="ab[grid=karras[end=sigma_min]]",
        against="zju-pi/diff-sampler",
        what="deis_sampler(max_order=4, deis_mode='rhoab'), as sample.py there runs it",
        reference=lambda setup: diff_sampler(setup, "deis_sampler", deis="rhoab", max_order=4),
        nfes=(5, 8, 10, 20),
        tolerance=None,
        verdict="Theirs: after the fourth step it uses that step's weights; max_order 2 and 3 raise a ValueError. "
        "With weights made for one order less it is equal to ours.",
    ),
)
