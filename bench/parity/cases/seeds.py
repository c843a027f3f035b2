"""SEEDS: the authors' solver objects in their variance-exploding form, interval by interval."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from bench.parity.authors import double, load
from bench.parity.base import Case, Setup

REPOSITORY = "nfsrules/SEEDS"
BUDGETS = {1: (1, 2, 3, 5, 8, 10, 20), 2: (2, 4, 8, 10, 20), 3: (9, 12, 21)}
END = "plan=full,grid=karras[end=sigma_min]"
STAGE = (
    "A fault of theirs: at the stage at 2/3, phi_2 is taken of a third of the step, not two thirds, and its "
    "denominator lacks a factor 2. With that corrected both agree to 1e-14."
)
PATH = (
    "A fault of theirs: the noise of the stage at 2/3 has the level of the end of the step, and in the result the "
    "weights of the first two increments are exchanged: it is not one path. With both corrected they agree to 1e-12."
)


def _authors(setup: Setup, order: int, noise: bool, tableau: str) -> Tensor:
    """One update per interval; its last one would leave x as it is, and is not reached. Its noise is subtracted."""
    noise_module = ("seeds_lib", "seeds_lib.noise", "seeds_lib.noise.brownian")
    module = load(setup, "seeds_lib/methods/etd_serk", stand_ins=noise_module)
    solver = module.ETD_SERK_SOLVER(
        net=lambda x, sigma, labels: setup.denoise(x, float(sigma)),
        lamb=lambda t: -torch.log(t),
        lamb_inv=lambda value: torch.exp(-value),
        class_labels=None,
        sigma=lambda t: t,
        s=lambda t: 1.0,
        order=order,
        c2=None,
        noise_pred=noise,
        butcher_type=f"{order}{tableau}",
        noise_type=None,
    )
    solver.randn_like = lambda x: -setup.noise.normal()
    x = setup.x
    with double():
        for i in range(len(setup.grid) - 1):
            x = solver.update(x, setup.grid.sigma[i], setup.grid.sigma[i + 1], len(setup.grid), i)
    return x


def _case(order: int, prediction: str, tableau: str, fault: str = "") -> Case:
    return Case(
        solver=f"seeds[order={order},prediction={prediction},tableau={tableau},{END}]",
        against=REPOSITORY,
        what=f"ETD_SERK_SOLVER(order={order}, butcher_type='{order}{tableau}', noise_pred={prediction == 'noise'})",
        reference=partial(_authors, order=order, noise=prediction == "noise", tableau=tableau),
        nfes=BUDGETS[order],
        tolerance=None if fault else 1e-5,
        verdict=fault,
    )


CASES = (
    *(_case(order, prediction, "a") for order in (1, 2) for prediction in ("data", "noise")),
    *(_case(2, prediction, "b") for prediction in ("data", "noise")),
    *(_case(3, "data", tableau, STAGE) for tableau in "ab"),
    *(_case(3, "noise", tableau, PATH) for tableau in "ab"),
)
