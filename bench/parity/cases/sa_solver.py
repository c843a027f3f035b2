"""SA-Solver: the authors' code in its two modes, and diffusers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from bench.parity.authors import SigmaTime, double, load
from bench.parity.base import Case, Setup
from bench.parity.external import diffusers, package

END = "grid=karras[end=sigma_min]"
REPOSITORY = "scxue/SA-Solver"


def _window(low: float, high: float, tau: float, sigma: float) -> float:
    return tau if low <= sigma <= high else 0.0


class _Schedule(SigmaTime):
    edm_sigma = staticmethod(lambda t: t)


def _draws(setup: Setup, skip: int) -> Callable[..., Tensor]:
    """Our numbers in place of theirs, after ``skip`` draws that are not used."""
    left = [skip]

    def draw(x: Any, **_: object) -> Tensor:
        left[0] -= 1
        return torch.zeros(()) if left[0] >= 0 else setup.noise.normal()

    return draw


def _authors(setup: Setup, mode: str, tau: Callable[[float], float], **options: Any) -> Tensor:
    module = load(setup, "sa_solver")
    nodes = setup.grid.nodes
    alpha = [1 / math.hypot(1, sigma) for sigma in (nodes[0], nodes[-1])]

    def model_fn(x: Tensor, t: Tensor) -> Tensor:
        sigma = float(t.reshape(-1)[0])
        state = x * math.hypot(1, sigma)
        return (state - setup.denoise(state, sigma)) / sigma

    with double(), mock.patch("torch.randn_like", _draws(setup, 1)), mock.patch.object(module, "tqdm", lambda it: it):
        solver = module.SASolver(model_fn, _Schedule())
        solver.get_time_steps = lambda **_: setup.grid.sigma.clone()
        if mode == "more_steps":  # its end is an evaluation at the last level, which ours spends in no other way
            solver.denoise_to_zero_fn = lambda x, t: x
        found: Tensor = solver.sample(
            mode, setup.x * alpha[0], lambda t: tau(float(t)), len(nodes) - 1, nodes[0], nodes[-1], **options
        )
    return found / alpha[-1]


def _diffusers(setup: Setup, tau: Callable[[float], float], **config: Any) -> Tensor:
    """Its times are numbers of steps; ours are looked up for tau."""
    levels = dict(zip(range(len(setup.grid) - 1, 0, -1), setup.grid.nodes, strict=False))

    def tau_func(t: int) -> Tensor:
        return torch.tensor(tau(levels[int(t)]), dtype=torch.float64)

    module = package("diffusers.schedulers.scheduling_sasolver")
    with mock.patch.object(module, "randn_tensor", _draws(setup, 0)):
        return diffusers(setup, "SASolverScheduler", tau_func=tau_func, **config)


def _case(orders: tuple[int, int], tau: float, window: tuple[float, float], mode: str = "PEC") -> Case:
    bounds = f"tau_low={window[0]},tau_high={window[1]},mode={mode},rescaled=true,lower_final=true"
    need = max(orders[0], orders[1] - 1)
    return Case(
        solver=f"sa_solver[predictor_order={orders[0]},corrector_order={orders[1]},tau={tau},{bounds},{END}]",
        against=REPOSITORY,
        what=f"SASolver.sample('few_steps', predictor_order={orders[0]}, corrector_order={orders[1]}, tau={tau} in "
        f"{list(window)}, pc_mode='{mode}')",
        reference=partial(
            _authors,
            mode="few_steps",
            tau=partial(_window, *window, tau),
            predictor_order=orders[0],
            corrector_order=orders[1],
            pc_mode=mode,
        ),
        nfes=tuple(
            n for n in ((1, 3, 5, 9, 19) if mode == "PECE" else (1, 2, 3, 5, 8, 10, 20)) if _steps(n, mode) >= need
        ),
        verdict=f"With fewer than {need} steps theirs refuses." if need > 1 else "",
    )


def _steps(nfe: int, mode: str) -> int:
    return (nfe + 1) // 2 if mode == "PECE" else nfe


def _scheduler(orders: tuple[int, int], tau: float, window: tuple[float, float]) -> Case:
    bounds = f"tau_low={window[0]},tau_high={window[1]},rescaled=true,lower_final=true,convention=diffusers"
    return Case(
        solver=f"sa_solver[predictor_order={orders[0]},corrector_order={orders[1]},tau={tau},{bounds},{END}]",
        against="diffusers",
        what=f"SASolverScheduler(predictor_order={orders[0]}, corrector_order={orders[1]}), tau={tau} in {window}",
        reference=partial(
            _diffusers, tau=partial(_window, *window, tau), predictor_order=orders[0], corrector_order=orders[1]
        ),
    )


CASES = (
    *(
        Case(
            solver=f"sa_solver[predictor_order={order},corrector_order=0,tau=0.8,lower_final=true,convention=diffusers,"
            f"{END}]",
            against=REPOSITORY,
            what=f"SASolver.sample('more_steps', predictor_order={order}, corrector_order=0, tau=0.8) without its last "
            "evaluation",
            reference=partial(
                _authors, mode="more_steps", tau=lambda sigma: 0.8, predictor_order=order, corrector_order=0
            ),
            nfes=(5, 8, 10, 20),
        )
        for order in (2, 3)
    ),
    *(_case(orders, 1.0, (0.0, 100.0)) for orders in ((3, 4), (2, 2), (1, 1), (2, 0), (4, 4), (1, 3))),
    _case((3, 4), 0.0, (0.0, 100.0)),
    _case((3, 4), 0.7, (0.05, 1.0)),
    _case((2, 3), 1.0, (0.0, 100.0), "PECE"),
    *(_scheduler(orders, 1.0, (0.0, 100.0)) for orders in ((2, 2), (3, 4), (1, 1))),
    _scheduler((2, 2), 0.7, (0.05, 1.0)),
)
