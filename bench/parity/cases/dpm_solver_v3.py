"""DPM-Solver-v3: the authors' solver with statistics we make up, on levels among those of the statistics.

Their integrals are sums by the trapezoidal rule between levels and ours are exact, so there are many levels; the two
differ by up to 1.5e-3 on 120, the fewest of theirs. Their grid stops above 0; our step to 0 is compared with what their
corrected state and model value at the level before imply.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from bench.parity.authors import double, load
from bench.parity.base import Case, Setup

REPOSITORY = "thu-ml/DPM-Solver-v3"
LEVELS = 2400  # divisible by every budget: their code moves the levels of the grid to those of the statistics
HIGH, LOW = 10.0, 0.02


def _statistics() -> dict[str, Tensor]:
    """Smooth functions of lambda, one for each coordinate, of the size that real ones have."""
    lam = torch.linspace(-np.log(HIGH), -np.log(LOW), LEVELS + 1, dtype=torch.float64)
    sigma = (-lam).exp()
    phase = torch.tensor([0.0, 1.0], dtype=torch.float64)
    wide = lam[:, None]
    return {
        "sigma": sigma,
        "l": sigma[:, None] ** 2 / (torch.tensor([0.3, 0.7], dtype=torch.float64) + sigma[:, None] ** 2),
        "s": 0.8 * (0.9 * wide + phase).sin() - 0.3,
        "b": 0.2 * (0.7 * wide - phase).cos(),
    }


STATISTICS = _statistics()


def _authors(setup: Setup, order: int, corrector: str, degenerated: bool = False, **options: Any) -> Tensor:
    """Images of 2 channels and one pixel, in float64 on the CPU where theirs asks for CUDA."""
    module = load(setup, "dpm_solver_v3")
    steps = len(setup.grid) - 1
    calls: list[tuple[Tensor, Tensor, float]] = []

    def model_fn(x: Tensor, t: Tensor) -> Tensor:
        sigma = float(t.reshape(-1)[0])
        eps = (x - setup.denoise(x.flatten(1), sigma).view_as(x)) / sigma
        calls.append((x, eps, sigma))
        return eps

    arrays = {name: STATISTICS[name].numpy()[..., None, None] for name in ("l", "s", "b")}
    with (
        double(),
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(torch.Tensor, "cuda", lambda self: self),
        mock.patch.object(torch, "FloatTensor", torch.DoubleTensor),
    ):
        np.savez(Path(folder) / "l.npz", l=arrays["l"])
        np.savez(Path(folder) / "sb.npz", s=arrays["s"], b=arrays["b"])
        schedule = module.NoiseScheduleEDM()
        solver = module.DPM_Solver_v3(folder, schedule, steps, HIGH, LOW, "logSNR", degenerated, device="cpu")
        end, corrected = solver.sample(
            setup.x[..., None, None],
            model_fn,
            order,
            use_corrector=corrector != "none",
            c_pseudo=corrector == "pseudo",
            return_intermediate=True,
            **options,
        )
    if setup.grid.nodes[-1] > 0:
        return torch.as_tensor(end).flatten(1)
    x, eps, sigma = calls[-1]
    linear = solver.l[solver.indexes[-2]]
    moved: Tensor = corrected[-1] - (sigma * eps - linear * x) - linear * corrected[-1]
    return moved.flatten(1)


def _case(order: int, corrector: str, pseudo: bool, final: bool, grid: str, degenerated: bool = False) -> Case:
    theirs = f"order={order}, corrector={corrector}, p_pseudo={pseudo}, lower_order_final={final}"
    parts = [
        f"order={order},corrector={corrector},pseudo={str(pseudo).lower()}",
        f"lower_final={'always' if final else 0},degenerated={str(degenerated).lower()},grid={grid}",
    ]
    return Case(
        solver=f"dpm_solver_v3[{','.join(parts)}]",
        against=REPOSITORY,
        what=f"DPM_Solver_v3.sample({theirs}, degenerated={degenerated})",
        reference=lambda setup: _authors(
            setup, order, corrector, degenerated, p_pseudo=pseudo, lower_order_final=final
        ),
        sigma_min=LOW,
        sigma_max=HIGH,
        artifact={} if degenerated else STATISTICS,
    )


END = "logsnr[end=sigma_min]"

CASES = (
    _case(3, "pseudo", False, True, END),
    _case(3, "same", True, True, END),
    _case(3, "same", False, False, END),
    _case(3, "none", False, False, END),
    _case(3, "none", True, False, "logsnr"),
    _case(2, "same", False, True, "logsnr"),
    _case(2, "pseudo", False, False, "logsnr"),
    _case(1, "pseudo", False, True, END),
    _case(3, "pseudo", False, False, END, degenerated=True),
)
