"""RES: the functions of an author in NVIDIA Cosmos, and azula's exponential Adams-Bashforth."""

from __future__ import annotations

import sys
from types import ModuleType
from unittest import mock

import torch
from torch import Tensor

from bench.parity.authors import load
from bench.parity.base import Case, Setup
from bench.parity.external import azula

REPOSITORY = "nvidia-cosmos/cosmos-predict1"
FOLDER = "cosmos_predict1/diffusion/functional"


def _cosmos(setup: Setup, name: str) -> ModuleType:
    """``runge_kutta`` or ``multi_step``, whose package cannot be imported without a GPU's libraries."""
    parent = FOLDER.replace("/", ".")
    with mock.patch.dict(sys.modules):
        for module in ("batch_ops", "runge_kutta"):
            sys.modules[f"{parent}.{module}"] = load(setup, f"{FOLDER}/{module}")
        return load(setup, f"{FOLDER}/{name}")


def _single(setup: Setup) -> Tensor:
    """``2mid`` down to the last level above 0, then one evaluation there."""
    module = _cosmos(setup, "runge_kutta")
    x, rows = setup.x, torch.ones(len(setup.x), dtype=torch.float64)

    def x0_fn(x: Tensor, sigma: Tensor) -> Tensor:
        return setup.denoise(x, float(sigma[0]))

    for sigma_s, sigma_t in setup.grid.steps():
        if sigma_t == 0:
            return x0_fn(x, sigma_s * rows)
        x, _ = module.get_runge_kutta_fn("2mid")(x, sigma_s * rows, sigma_t * rows, x0_fn)
    return x


def _multi(setup: Setup) -> Tensor:
    """``2ab``."""
    step = _cosmos(setup, "multi_step").get_multi_step_fn("2ab")
    x, rows = setup.x, torch.ones(len(setup.x), dtype=torch.float64)
    older: list[tuple[Tensor, Tensor]] = []
    for sigma_s, sigma_t in setup.grid.steps():
        prediction = setup.denoise(x, sigma_s)
        if sigma_t == 0:
            return prediction
        x, older = step(x, sigma_s * rows, sigma_t * rows, prediction, older)
    return x


CASES = (
    Case(
        solver="res[grid=karras[end=append]]",
        against=REPOSITORY,
        what="get_runge_kutta_fn('2mid')",
        reference=_single,
        nfes=(1, 3, 5, 9, 19),
    ),
    Case(
        solver="res[plan=full,grid=karras[end=sigma_min]]",
        against=REPOSITORY,
        what="get_runge_kutta_fn('2mid'), nothing after it",
        reference=_single,
        nfes=(2, 4, 8, 10, 20),
    ),
    Case(
        solver="res[multistep=true,grid=karras[end=append]]",
        against=REPOSITORY,
        what="get_multi_step_fn('2ab')",
        reference=_multi,
    ),
    Case(
        solver="res[multistep=true,grid=karras[end=sigma_min]]",
        against="azula",
        what="xEABSampler(order=2)",
        reference=lambda setup: azula(setup, "xEABSampler", order=2),
    ),
)
