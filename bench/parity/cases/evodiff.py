"""EVODiff against the authors' demonstration for EDM networks."""

from __future__ import annotations

import importlib
import sys
from unittest.mock import patch

import torch
from torch import Tensor

from bench.parity.authors import double, load
from bench.parity.base import Case, Setup

AUTHORS = "ShiguiLi/EVODiff"


def _reference(setup: Setup) -> Tensor:
    """Their multistep solver of order 2 along our grid, its states one channel of two pixels."""
    package = load(setup, "code_demo/edm_cifar10/samplers")
    with patch.dict(sys.modules, {package.__name__: package}):  # its modules import each other by its name
        module = importlib.import_module(f"{package.__name__}.evodiff")
        schedule = importlib.import_module(f"{package.__name__}.utils").NoiseScheduleEDM()
    nodes = setup.grid.nodes

    def eps(x: Tensor, t: Tensor) -> Tensor:
        state = x.flatten(1)
        return ((state - setup.denoise(state, float(t[0]))) / float(t[0])).view_as(x)

    with double():
        solver = module.EVODiff_edm(schedule)
        solver.get_time_steps = lambda **_: setup.grid.sigma.clone()
        start = setup.x.view(-1, 1, 2, 1)
        found: Tensor = solver.sample(eps, start, steps=len(nodes) - 1, t_start=nodes[0], t_end=nodes[-1])
    return torch.as_tensor(found).flatten(1)


CASES = tuple(
    Case(
        solver=f"evodiff[grid={grid}[end=sigma_min]]",
        against=AUTHORS,
        what=f"EVODiff_edm on a {grid} grid",
        reference=_reference,
        nfes=nfes,
    )
    for grid, nfes in (("logsnr", (2, 3, 5, 8, 10, 20, 30)), ("karras", (2, 3, 5, 8, 10, 20, 25)))
)
