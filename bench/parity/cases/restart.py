"""Restart sampling of Xu et al. 2023: the authors' code.

It sets the jump's levels in float32, and draws at every step; only the draws of jumps are not multiplied with 0.
"""

from __future__ import annotations

import json
from functools import partial

import torch
from torch import Tensor

from bench.parity.authors import double, load
from bench.parity.base import Case, Setup
from bench.parity.cases._edm import STAND_INS, Net

AUTHORS = "Newbeeer/diffusion_restart_sampling"


class Log:
    """Their log, to which a jump is announced before its noise is drawn."""

    jumps = False

    def print0(self, text: str) -> None:
        """Note the jump."""
        self.jumps = True


def restart(setup: Setup, restarts: str, s_noise: float = 1.003) -> Tensor:
    """The final state (8, 2) of ``restart_sampler``; it makes its own grid, ``karras[end=append]``."""
    module = load(setup, "benchmarks/generate_restart", (*STAND_INS, "torchvision", "torchvision.utils"))
    log, nodes, net = Log(), setup.grid.nodes, Net(setup)
    module.dist = log  # type: ignore[attr-defined]
    net.img_channels, net.img_resolution = 2, 1  # type: ignore[attr-defined]

    def randn_like(x: Tensor) -> Tensor:
        jumps, log.jumps = log.jumps, False
        return setup.noise.normal() if jumps else torch.zeros_like(x)

    jumps = [[float(number) for number in jump.split(":")] for jump in restarts.split("/")]
    info = {str(i): [int(n), int(k), low, high] for i, (n, k, low, high) in enumerate(jumps)}
    with double():
        found: Tensor = module.restart_sampler(
            net,
            setup.x / nodes[0],
            randn_like=randn_like,
            num_steps=len(nodes) - 1,
            sigma_min=nodes[-2],
            sigma_max=nodes[0],
            S_noise=s_noise,
            restart_info=json.dumps(info),
        )
    return found


def _case(restarts: str, nfes: tuple[int, ...], s_noise: float = 1.003) -> Case:
    return Case(
        solver=f"restart[restarts={restarts},s_noise={s_noise},grid=karras[end=append]]",
        against=AUTHORS,
        what=f"restart_sampler(restart_info={restarts}, S_noise={s_noise})",
        reference=partial(restart, restarts=restarts, s_noise=s_noise),
        nfes=nfes,
        verdict="Their levels of a jump are rounded to float32; that is the difference.",
    )


CASES = (
    _case("3:1:0.06:1", (7, 9, 11, 15, 21)),
    _case("3:2:0.06:0.30", (13, 15, 21, 29)),
    _case("4:1:1.09:1.92/5:2:0.06:0.3", (31, 35, 41), 1.0),
)
