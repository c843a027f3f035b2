"""Time-shift sampling against the authors' DEIS code, with its method ``ipndm``.

Theirs needs jax. Its steps are at whole times, which divide 999 evenly, and it counts the window to each side.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor, nn

from bench.parity.authors import load
from bench.parity.base import Case, Setup
from bench.parity.external import package
from bench.process import VPDiscrete

AUTHORS = "Mingxiao-Li/TS-DPM"
PROCESS = VPDiscrete(tuple(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).tolist()))


def _level(t: int) -> float:
    return float(PROCESS.sigma(torch.tensor(float(t), dtype=torch.float64)))


class _Network(nn.Module):
    """The closed form as a network of their kind, a time for each sample."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.setup = setup

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        sigma = PROCESS.sigma(t.double())
        state = x.double().flatten(1) * (1 + sigma**2).sqrt()[:, None]
        return ((state - self.setup.denoise(state, sigma)) / sigma[:, None]).view_as(x)


def _reference(window: int, cutoff: int) -> Callable[[Setup], Tensor]:
    """``DEIS_Sampler(method="ipndm", shift_time_step=True)`` in float64, without its map to pixels."""

    def run(setup: Setup) -> Tensor:
        jax = package("jax")
        jax.config.update("jax_enable_x64", True)
        sampler = load(setup, "sampler")
        with patch.dict(sys.modules, {"sampler": sampler}), contextlib.redirect_stderr(io.StringIO()):
            module = importlib.import_module("sampler.deis_sampler")
            with patch.object(torch.Tensor, "float", torch.Tensor.double):  # their betas
                found = module.DEIS_Sampler(
                    _Network(setup), "cpu", 1000, 1e-4, 0.02, "linear", setup.nfe, "ipndm", True, window, cutoff
                )
                x = setup.x * (1 + setup.grid.sigma[0] ** 2).rsqrt()
                found.inverse_img_transform = lambda image: image
                end: Tensor = found.sample(x_T=x.view(-1, 1, 2, 1))
        return end.flatten(1) * (1 + setup.grid.sigma[-1] ** 2).sqrt()

    return run


CASES = tuple(
    Case(
        solver=f"time_shift[solver=ipndm[grid=time_uniform[end=sigma_min]],window={2 * window},cutoff={cutoff}]",
        against=AUTHORS,
        what=f"DEIS_Sampler(ipndm, window_size={window}, cut_off_value={cutoff})",
        reference=_reference(window, cutoff),
        nfes=(1, 3, 9, 27),
        sigma_min=_level(0),
        sigma_max=_level(999),
        process=PROCESS,
    )
    for window, cutoff in ((10, 900), (40, 300), (400, 0))
)
