"""Gaussian teleportation of Wang and Vastola: their closed form, then their copy of EDM's sampler.

Both are functions of a script that loads a network when it is imported, so they are taken out of its source.
"""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.parity.authors import double
from bench.parity.base import Case, Setup, Unavailable

REPOSITORY = "Animadversio/GaussianTeleportationDiffusion"
SCRIPT = "benchmark/edm_analytical_massprod_O2.py"
SKIP = 3.0
ANGLE = torch.tensor(0.6, dtype=torch.float64)
VECTORS = torch.stack([torch.stack([ANGLE.cos(), ANGLE.sin()]), torch.stack([-ANGLE.sin(), ANGLE.cos()])], dim=1)
VALUES = torch.tensor([1.3, 0.6], dtype=torch.float64)
MEAN = torch.tensor([0.1, -0.2], dtype=torch.float64)


def _gaussian(k: int) -> dict[str, Tensor]:
    """The first k eigenpairs of a covariance, as the method stores them."""
    tail = VALUES[k:].mean() if k < 2 else torch.zeros(())
    return {"mean": MEAN, "vectors": VECTORS[:, :k], "values": VALUES[:k], "tail": tail}


def _functions(setup: Setup) -> dict[str, Any]:
    """The script's functions, without what it does."""
    if setup.checkout is None or not (setup.checkout / SCRIPT).is_file():
        raise Unavailable(f"needs a checkout of {REPOSITORY}")
    tree = ast.parse((setup.checkout / SCRIPT).read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    found: dict[str, Any] = {"torch": torch, "np": np}
    exec(compile(tree, SCRIPT, "exec"), found)
    return found


class _Net:
    """The mixture as EDM's network of images."""

    sigma_min, sigma_max = 0.0, float("inf")

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def round_sigma(self, sigma: Tensor) -> Tensor:
        return sigma

    def __call__(self, x: Tensor, sigma: Tensor, label: object) -> Tensor:
        return self.setup.denoise(x.flatten(1), float(sigma)).view_as(x)


def _reference(setup: Setup, k: int) -> Tensor:
    functions = _functions(setup)
    start = setup.grid.sigma[0]
    with double():
        at = functions["edm_x_t_traj"](setup.x, MEAN, VECTORS[:, :k], VALUES[:k], torch.tensor([SKIP]), sigma_T=start)[
            0
        ]
        found: Tensor = functions["edm_sampler_return"](
            _Net(setup),
            (at / SKIP)[:, :, None, None],
            num_steps=(setup.nfe + 1) // 2,
            sigma_min=float(setup.grid.sigma[-1]),
            sigma_max=SKIP,
        )[0]
    return found.flatten(1)


CASES = tuple(
    Case(
        solver=f"gaussian_teleport[solver=heun[grid=karras[end=append]],sigma_skip={SKIP:g},tail=zero,k={k}]",
        against=REPOSITORY,
        what=f"edm_x_t_traj and edm_sampler_return of {SCRIPT}, {k} of 2 eigenvectors",
        reference=lambda setup, k=k: _reference(setup, k),  # type: ignore[misc]
        nfes=(3, 5, 9, 19),
        artifact=_gaussian(k),
    )
    for k in (1, 2)
)
