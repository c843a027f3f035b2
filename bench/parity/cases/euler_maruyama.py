"""Euler-Maruyama of Song et al. 2021: their predictor, called once per step with that step's length.

Their sampler takes ``dt = 1 / N`` on times that are ``(1 - eps) / (N - 1)`` apart, so it does not arrive where it says;
its predictor is compared step by step.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from bench.parity.authors import double, load
from bench.parity.base import Case, Setup
from bench.parity.cases._score_sde import Torch, scale
from bench.process import VPLinear

AUTHORS = "yang-song/score_sde_pytorch"


def predictor(setup: Setup, sde: str) -> Tensor:
    """The final state (8, 2) of ``EulerMaruyamaPredictor``, along our grid."""
    module = load(setup, "sampling")
    module.torch = Torch(setup.noise.normal)  # type: ignore[attr-defined]
    nodes = setup.grid.nodes
    low, high = 0.01, 50.0
    if sde == "ve":
        times = [math.log(sigma / low) / math.log(high / low) for sigma in nodes]
        scales = torch.ones(len(nodes), dtype=torch.float64)
        process = module.sde_lib.VESDE(low, high)
    else:
        times = VPLinear().time(setup.grid.sigma).tolist()
        scales = scale(setup.grid.sigma)
        process = module.sde_lib.VPSDE(0.1, 20.0)
    y = (setup.x * scales[0])[:, :, None, None]
    with double():
        for i, (sigma, a) in enumerate(zip(nodes[:-1], scales[:-1], strict=True)):

            def score(y: Tensor, t: Tensor, sigma: float = sigma, a: Tensor = a) -> Tensor:
                clean = setup.denoise(y.flatten(1) / a, sigma).view_as(y)
                return (a * clean - y) / (a * sigma) ** 2

            step = module.EulerMaruyamaPredictor(process, score)
            step.rsde.N = 1 / (times[i] - times[i + 1])
            y, _ = step.update_fn(y, torch.full((len(y),), times[i]))
    found: Tensor = y.flatten(1) / scales[-1]
    return found


CASES = (
    Case(
        solver="euler_maruyama[grid=logsnr[end=sigma_min]]",
        against=AUTHORS,
        what="EulerMaruyamaPredictor(VESDE)",
        reference=partial(predictor, sde="ve"),
    ),
    Case(
        solver="euler_maruyama[grid=karras[end=sigma_min]]",
        against=AUTHORS,
        what="EulerMaruyamaPredictor(VESDE)",
        reference=partial(predictor, sde="ve"),
    ),
    Case(
        solver="euler_maruyama[sde=vp,grid=vp_uniform[end=sigma_min]]",
        against=AUTHORS,
        what="EulerMaruyamaPredictor(VPSDE)",
        reference=partial(predictor, sde="vp"),
    ),
    Case(
        solver="euler_maruyama[sde=vp,grid=karras[end=sigma_min]]",
        against=AUTHORS,
        what="EulerMaruyamaPredictor(VPSDE)",
        reference=partial(predictor, sde="vp"),
    ),
)
