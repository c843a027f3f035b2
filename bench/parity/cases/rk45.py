"""RK45 against scipy's ``solve_ivp`` and the sampler of Score SDE that calls it, one state at a time.

They integrate a batch as one vector, so only a batch of one can be compared. The budgets are ample: every state
arrives, and what is left are idle evaluations. Their end is denoised once, which ours is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.parity.authors import double, load
from bench.parity.base import Case, Setup
from bench.parity.external import package

AUTHORS = "yang-song/score_sde_pytorch"
NFES = (200,)


def _scipy(setup: Setup, tolerance: float) -> Tensor:
    """``solve_ivp(method="RK45")`` in the time of the variance-exploding process, from 1 to 0."""
    integrate = package("scipy.integrate")
    high, low = setup.grid.nodes[0], setup.grid.nodes[-1]

    def slope(t: float, x: Any) -> Any:
        state = torch.from_numpy(np.array(x))[None]
        return math.log(high / low) * (state - setup.denoise(state, low * (high / low) ** t))[0].numpy()

    found = [
        integrate.solve_ivp(slope, (1.0, 0.0), x.numpy(), rtol=tolerance, atol=tolerance, method="RK45").y[:, -1]
        for x in setup.x
    ]
    return setup.denoise(torch.from_numpy(np.stack(found)), low)


def _score_sde(setup: Setup, name: str, tolerance: float) -> Tensor:
    """Their ``get_ode_sampler`` with their VP or VE process, in float64 where they ask for float32."""
    sampling = load(setup, "sampling", ("models", "models.utils"))
    sde_lib = load(setup, "sde_lib")
    high, low = setup.grid.nodes[0], setup.grid.nodes[-1]
    with double():
        if name == "ve":
            sde, start, end, scale = sde_lib.VESDE(low, high), 1.0, 0.0, (1.0, 1.0)
        else:
            sde = sde_lib.VPSDE(0.1, 20.0)
            start, end = (_vp_time(sigma) for sigma in (high, low))
            scale = ((1 + high**2) ** -0.5, (1 + low**2) ** -0.5)
            type(sde).T = start  # a read-only property that ends at 1

        def score(x: Tensor, t: Tensor) -> Tensor:
            mean, std = sde.marginal_prob(torch.ones_like(x), t)
            sigma = float(std[0] / mean.reshape(-1)[0])
            value: Tensor = (setup.denoise(x / mean, sigma) - x / mean) / sigma**2 / mean
            return value

        vars(sampling).update(
            torch=SimpleNamespace(float32=torch.float64, no_grad=torch.no_grad, ones=torch.ones, tensor=torch.tensor),
            get_score_fn=lambda *_, **__: score,
            from_flattened_numpy=lambda x, shape: torch.from_numpy(x.reshape(shape)),
            to_flattened_numpy=lambda x: x.numpy().reshape(-1),
        )
        sampler = sampling.get_ode_sampler(
            sde, (1, 2), lambda x: x, rtol=tolerance, atol=tolerance, eps=end, device="cpu"
        )
        ends = [sampler(None, setup.x[i : i + 1] * scale[0])[0] for i in range(len(setup.x))]
    return setup.denoise(torch.cat(ends) / scale[1], low)


def _vp_time(sigma: float) -> float:
    """Where ``exp(9.95 t^2 + 0.1 t) = 1 + sigma^2``."""
    return (math.sqrt(0.1**2 + 2 * 19.9 * math.log1p(sigma**2)) - 0.1) / 19.9


def _reference(run: Callable[..., Tensor], *args: Any) -> Callable[[Setup], Tensor]:
    return lambda setup: run(setup, *args)


CASES = (
    *(
        Case(
            solver=f"rk45[rtol={tolerance},atol={tolerance}]",
            against="scipy",
            what=f"solve_ivp(RK45, rtol=atol={tolerance})",
            reference=_reference(_scipy, tolerance),
            nfes=NFES,
        )
        for tolerance in (1e-2, 1e-4)
    ),
    *(
        Case(
            solver=f"rk45[rtol={tolerance},atol={tolerance},coordinates={name}]",
            against=AUTHORS,
            what=f"get_ode_sampler({name}, rtol=atol={tolerance})",
            reference=_reference(_score_sde, name, tolerance),
            nfes=NFES,
        )
        for name, tolerance in (("ve", 1e-3), ("vp", 1e-3), ("vp", 1e-2))
    ),
)
