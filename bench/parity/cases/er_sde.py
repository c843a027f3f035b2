"""ER-SDE-Solver: the authors' code in its variance-exploding form, as their EDM example uses it."""

from __future__ import annotations

from functools import partial
from typing import Any
from unittest import mock

from torch import Tensor

from bench.parity.authors import double, load
from bench.parity.base import Case, Setup

REPOSITORY = "QinpengCui/ER-SDE-Solver"
NAMES = {1: "ve_xstart_1_order", 2: "ve_start_2_order_taylor", 3: "ve_start_3_order_taylor"}
SCALES = ("ode", "sde", "sde1", "sde2", "sde3", "sde4", "sde5")  # their func_type, from 1


def _authors(setup: Setup, order: int, scale: str, clip: bool = False) -> Tensor:
    """``clip`` keeps the variances below 1e-6, which theirs drops."""
    module = load(setup, "examples/edm/er_sde_solver", stand_ins=("tqdm", "tqdm.auto"))
    solver: Any = module.ER_SDE_Solver(sde_type="ve", model_prediction_type="x_start")
    if not clip:
        solver.numerical_clip = lambda variance: variance.clamp(min=0)
    draws = mock.patch("torch.randn_like", lambda x: setup.noise.normal())
    phi = partial(module.customized_func, func_type=1 + SCALES.index(scale))
    sigma = setup.grid.sigma
    with double(), draws:
        found: Tensor = getattr(solver, NAMES[order])(
            lambda x, t: setup.denoise(x, float(t)), setup.x, sigma, sigma, fn_sigma=phi, progress=False
        )
    return found


def _case(order: int, scale: str, end: str) -> Case:
    return Case(
        solver=f"er_sde[order={order},scale={scale},riemann=100,grid=karras[end={end}]]",
        against=REPOSITORY,
        what=f"{NAMES[order]}(func_type={1 + SCALES.index(scale)})",
        reference=partial(_authors, order=order, scale=scale),
        verdict="Their numerical_clip, which drops variances below 1e-6, is left out in the comparison.",
    )


CASES = (
    *(_case(order, "sde5", end) for order in (1, 2, 3) for end in ("append", "sigma_min")),
    *(_case(3, scale, "sigma_min") for scale in SCALES[:-1]),
    Case(
        solver="er_sde[grid=karras[end=append]]",
        against=REPOSITORY,
        what="ve_start_3_order_taylor(func_type=7), as it is",
        reference=partial(_authors, order=3, scale="sde5", clip=True),
        nfes=(3, 5, 8, 10, 20),
        tolerance=None,
        verdict="Theirs sums 100 left ends where ours integrates, and drops noise of variance below 1e-6, an absolute "
        "level. riemann=100 makes the sums equal; the dropped noise cannot be had.",
    ),
)
