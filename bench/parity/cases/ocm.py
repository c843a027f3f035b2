"""OCM: the authors' sampler of DDPM and DDIM with a network of covariance, which here is one we make up.

Their network's output is ``diag(J) - 1``; both sides get the same made-up head, computed here anew with torch's own
layers. Their state is variance preserving and their noise is ours.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from bench.parity.authors import double, load
from bench.parity.base import Case, Setup
from bench.process import VPLinear

REPOSITORY = "J-zin/OCM_DPM"
SCALE, WIDTHS = 0.8, (5, 8, 8, 2)


def _weights() -> dict[str, Tensor]:
    """Waves stand for trained weights."""
    weights = {"scale": torch.tensor(SCALE, dtype=torch.float64)}
    for k, (size, out) in enumerate(pairwise(WIDTHS)):
        weights[f"weight{k}"] = torch.arange(size * out, dtype=torch.float64).add(k).mul(1.7).sin().view(out, size)
        weights[f"bias{k}"] = torch.arange(out, dtype=torch.float64).add(k).cos()
    return weights


WEIGHTS = _weights()


def _diagonal(x: Tensor, x0_hat: Tensor, sigma: float) -> Tensor:
    """``diag(J)`` of the made-up head, for x (B, 2)."""
    spread = math.hypot(SCALE, sigma)
    level = torch.full((len(x), 1), 0.25 * math.log(sigma), dtype=x.dtype)
    out = torch.cat([x / spread, x0_hat / SCALE, level], dim=1)
    for k in range(3):
        size, width = WEIGHTS[f"weight{k}"].T.shape
        layer = nn.Linear(size, width, dtype=torch.float64)
        layer.load_state_dict({"weight": WEIGHTS[f"weight{k}"], "bias": WEIGHTS[f"bias{k}"]})
        out = layer(out) if k == 0 else layer(nn.SiLU()(out))
    return (SCALE / spread) ** 2 * torch.log1p((math.e - 1) * out.exp())


class _Wrapper:
    """The mixture and the head as their network."""

    typ = "eps_hes"

    def __init__(self, setup: Setup, levels: list[float]) -> None:
        self.setup, self.levels = setup, levels

    def __call__(self, state: Tensor, step: int) -> tuple[Tensor, Tensor]:
        sigma = self.levels[step]
        x = state * math.hypot(1, sigma)
        x0_hat = self.setup.denoise(x, sigma)
        return (x - x0_hat) / sigma, _diagonal(x, x0_hat, sigma) - 1


def _authors(setup: Setup, form: dict[str, Any], clip: tuple[int, float]) -> Tensor:
    sample: Any = load(setup, "core", inside=".diffusion.sample")
    kinds = load(setup, "core", inside=".diffusion.dtdpm")
    schedule = load(setup, "core", inside=".diffusion.schedule").Schedule
    sample.DTDPM = kinds.DTDPM
    levels = [0.0, *reversed(setup.grid.nodes[:-1])]  # by their step number: 0 is clean
    cumulative = np.array([1 / (1 + level**2) for level in levels])
    betas = np.concatenate([[0.0], 1 - cumulative[1:] / cumulative[:-1]])
    with double(), mock.patch("torch.randn_like", lambda x: setup.noise.normal()):
        kind = kinds.DDIM if "eta" in form else kinds.DDPM
        model = kind(_Wrapper(setup, levels), schedule(betas), **form)
        start = setup.x / math.hypot(1, levels[-1])
        found: Tensor = sample._sample_dtdpm(model, start, "optimal", list(range(len(levels))), *clip)
    return found


def _case(ours: str, clip: tuple[int, float] = (0, 2.0), **form: Any) -> Case:
    words = ", ".join(f"{key}={value}" for key, value in form.items())
    kind = "DDIM" if "eta" in form else "DDPM"
    return Case(
        solver=f"ocm[{ours}]",
        against=REPOSITORY,
        what=f"_sample_dtdpm({kind}({words}), clip_sigma_idx={clip[0]}, clip_pixel={clip[1]})",
        reference=lambda setup: _authors(setup, form, clip),
        process=VPLinear(),
        artifact=WEIGHTS,
    )


CASES = (
    _case("grid=karras", clip_x0=False),
    _case("bound=1.0,grid=logsnr", clip_x0=True),
    _case("bound=1.0,average=true,clip_steps=1,grid=karras", (1, 2.0), clip_x0=True, avg_cov=True),
    _case("form=ddim,eta=0.0,grid=karras", clip_x0=False, eta=0.0),
    _case("form=ddim,eta=0.6,bound=1.0,grid=karras", clip_x0=True, eta=0.6),
)
