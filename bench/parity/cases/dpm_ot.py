"""DPM-OT of Li et al.: the transport map is theirs; from its targets Euler's method, written out, is ours and theirs.

Their own denoising is annealed Langevin dynamics of an NCSN, which is another method.
"""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import torch
from torch import Tensor

from bench.grids import make_grid
from bench.parity.authors import double, load
from bench.parity.base import EDM_PROCESS, Case, Setup

REPOSITORY = "cognaclee/DPM-OT"
SKIP, COUNT = 3.0, 24
# integers modulo a prime stand for random numbers; float16 has them exactly
TARGETS = ((torch.arange(2 * COUNT).view(COUNT, 2) * 37 + 11) ** 2 % 101 - 50).double() / 16
HEIGHTS = (torch.arange(COUNT) * 53 % 29 - 14).double() / 8


def _reference(setup: Setup) -> Tensor:
    options = SimpleNamespace(max_iter=0, lr_ot=0.1, bat_size_sr=8, bat_size_tg=COUNT // 2)
    nodes = make_grid("karras", setup.nfe, float(setup.grid.sigma[-1]), SKIP, EDM_PROCESS).nodes
    with double():
        solve = load(setup, "ot_utils/optimal_transport").OptimalTransport(
            TARGETS[:, :, None, None], options, device="cpu", out_dir=""
        )
        solve.set_h(HEIGHTS)
        x: Tensor = solve.forward((setup.x / setup.grid.sigma[0])[:, :, None, None]).flatten(1).double()
    for sigma_s, sigma_t in pairwise(nodes):
        x0_hat = setup.denoise(x, sigma_s)
        x = x0_hat + sigma_t / sigma_s * (x - x0_hat)
    return x


CASES = (
    Case(
        solver=f"dpm_ot[solver=ddim,sigma_skip={SKIP:g}]",
        against=REPOSITORY,
        what="OptimalTransport.forward of ot_utils/optimal_transport.py, then Euler's method",
        reference=_reference,
        artifact={"targets": TARGETS.half(), "heights": HEIGHTS},
        verdict="their map for topk > 1 cannot be run: it calls a function that is not defined",
    ),
)
