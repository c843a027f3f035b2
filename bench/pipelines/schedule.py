r"""From a scheduler of diffusers to a process, what the network predicts, and the range of noise levels.

===========================================  ============================================  =========================
scheduler                                    process                                       network predicts
===========================================  ============================================  =========================
with a table ``alphas_cumprod`` (DDPM, DDIM,  ``Tabled`` with that very table               ``prediction_type``
PNDM, Euler, DPM-Solver, UniPC, CogVideoX)
FlowMatch*, or ``use_flow_sigmas``           ``ShiftedFlow``                               velocity
EDM*                                         ``EDM``, preconditioned                       x0, after ``Precondition``
CMStochasticIterative                        ``EDM``, preconditioned, exact at sigma_min   x0, after ``Precondition``
===========================================  ============================================  =========================

A table that ends in zero terminal SNR has no finite last sigma. diffusers' own solvers then put ``2**-24`` in place of
the last ``alphas_cumprod`` (sigma = 4096), and so does this module, whichever scheduler the folder names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bench.denoiser import Prediction, align
from bench.errors import UsageError
from bench.process import EDM, Process, VPDiscrete

SMALLEST_ALPHA_BAR = 2.0**-24  # diffusers, scheduling_euler_discrete.py and others: the smallest positive half float
PREDICTIONS: dict[str, Prediction] = {
    "epsilon": "eps",
    "sample": "x0",
    "v_prediction": "v",
    "flow_prediction": "velocity",
}


class _Copies:
    """A table on every device that asks for it, copied there once."""

    def __init__(self, table: Tensor) -> None:
        self._table = table
        self._on = {table.device: table}

    def to(self, device: torch.device) -> Tensor:
        if device not in self._on:
            with torch.inference_mode(False):  # derivatives are taken of what is read from it
                self._on[device] = self._table.to(device)
        return self._on[device]

    def __getitem__(self, index: int) -> Tensor:
        return self._table[index]


@dataclass(frozen=True)
class Tabled(VPDiscrete):
    """``VPDiscrete`` without a copy of its table from the host at every call.

    Such a copy waits for the device at every step, and a CUDA graph cannot hold it.
    """

    @cached_property
    def _log_sigma(self) -> Any:
        with torch.inference_mode(False):
            return _Copies(VPDiscrete(self.betas)._log_sigma)


@dataclass(frozen=True)
class ShiftedFlow(Process):
    """A rectified flow ``x_t = (1 - t) x0 + t eps`` seen at shifted times ``t = s u / (1 + (s - 1) u)``.

    The process's own time is the unshifted ``u``: an even grid in it is the scheduler's grid (Esser et al. 2024,
    arXiv 2403.03206, Eq. 23). ``t``, of which networks are told, is ``shifted(u)``.

    Attributes:
        shift: s; ``exp(mu)`` where the scheduler shifts with the resolution.
        t_max: sampling starts at this t below 1, where sigma is finite: the second largest time in training.
    """

    shift: float = 1.0
    t_max: float = 0.999
    name: str = field(default="shifted_flow", init=False)

    def shifted(self, u: Tensor) -> Tensor:
        """The share of noise t at the process's time u, any shape."""
        return self.shift * u / (1 + (self.shift - 1) * u)

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - self.shifted(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.shift * t / (1 - t)  # t / (1 - t) of the shifted time, without cancellation

    def time(self, sigma: Tensor) -> Tensor:
        return sigma / (self.shift + sigma)

    def derivatives(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """With respect to the shifted time: a network's velocity is ``eps - x0`` whatever the shift."""
        return -torch.ones_like(t), torch.ones_like(t)

    @property
    def sigma_max(self) -> float:
        return self.t_max / (1 - self.t_max)


@dataclass(frozen=True)
class Precondition:
    """``D = c_skip x + c_out F(c_in x, c_noise)`` (Karras et al. 2022, arXiv 2206.00364, Table 1).

    Attributes:
        sigma_data: standard deviation of the data.
        boundary: noise level at which D is the identity (consistency models, arXiv 2303.01469, App. C); 0 for EDM.
        time_scale: the network is told ``time_scale * log(sigma) / 4``.
        sign: -1 where F predicts with the opposite sign (``v_prediction``).
    """

    sigma_data: float
    boundary: float = 0.0
    time_scale: float = 1.0
    sign: float = 1.0

    def scale_in(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The network's input (B, ...) and what it is told of the noise (B,), from ``x`` and sigma (B,) float64."""
        c_in = (sigma**2 + self.sigma_data**2).rsqrt()
        return align(c_in, x) * x, self.time_scale * 0.25 * torch.log(sigma + 1e-44)

    def scale_out(self, output: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """x0_hat (B, ...) from the network's output."""
        above, data = sigma - self.boundary, self.sigma_data
        c_skip = data**2 / (above**2 + data**2)
        c_out = self.sign * above * data / (sigma**2 + data**2).sqrt()
        return align(c_skip, x) * x + align(c_out, x) * output


@dataclass(frozen=True)
class Schedule:
    """What a scheduler says of the teacher.

    Attributes:
        prediction: what the network's output means; ``x0`` where ``precondition`` makes it so.
        sigma_min: the smallest noise level above 0 that the network was trained at.
        precondition: how the output becomes x0_hat, or None.
    """

    process: Process
    prediction: Prediction
    sigma_min: float
    precondition: Precondition | None = None

    @property
    def sigma_max(self) -> float:
        """The level that sampling starts from."""
        return self.process.sigma_max


def read_schedule(scheduler: Any, mu: float | None = None) -> Schedule:
    """The schedule of a scheduler of diffusers.

    Args:
        scheduler: an instance; its present grid does not matter.
        mu: of the shift, where the scheduler shifts with the resolution (FLUX, SD3, LTX, ...).

    Raises:
        UsageError: a kind of scheduler that is not known, or one that needs ``mu`` and has none.
    """
    kind, config = type(scheduler).__name__, scheduler.config
    if kind.startswith("FlowMatch") or config.get("use_flow_sigmas", False):
        return _flow(kind, config, mu)
    if kind.startswith("EDM"):
        sign = -1.0 if config.prediction_type == "v_prediction" else 1.0
        precondition = Precondition(config.sigma_data, sign=sign)
        return Schedule(EDM(config.sigma_max), "x0", config.sigma_min, precondition)
    if kind.startswith("CMStochasticIterative"):
        precondition = Precondition(config.sigma_data, boundary=config.sigma_min, time_scale=1000.0)
        return Schedule(EDM(config.sigma_max), "x0", config.sigma_min, precondition)
    table = getattr(scheduler, "alphas_cumprod", None)
    prediction = PREDICTIONS.get(config.get("prediction_type", "epsilon"))
    if table is None or prediction is None:
        raise UsageError(
            f"scheduler {kind} with prediction {config.get('prediction_type')!r} is of no kind that bench knows; save "
            "the pipeline with a DDIM, Euler, DPM-Solver, FlowMatchEuler, EDM or consistency scheduler"
        )
    process = table_process(table)
    return Schedule(process, prediction, float(process.sigma(torch.zeros((), dtype=torch.float64))))


def table_process(alphas_cumprod: Tensor) -> Tabled:
    """The process with this table (T,) of squared data scales, which falls with the index."""
    alpha_bar = alphas_cumprod.detach().to("cpu", torch.float64).clone()
    if alpha_bar[-1] <= 0:
        alpha_bar[-1] = SMALLEST_ALPHA_BAR
    before = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
    return Tabled(tuple((1 - alpha_bar / before).tolist()))


def _flow(kind: str, config: Any, mu: float | None) -> Schedule:
    dynamic = config.get("use_dynamic_shifting", False)
    if dynamic and mu is None:
        raise UsageError(f"scheduler {kind} shifts with the resolution, and this pipeline does not say by how much")
    shift = config.get("flow_shift", None) or config.get("shift", None) or 1.0
    if dynamic:
        assert mu is not None
        shift = mu if config.get("time_shift_type", "exponential") == "linear" else math.exp(mu)
    process = ShiftedFlow(float(shift))
    first = torch.tensor(1 / config.get("num_train_timesteps", 1000), dtype=torch.float64)
    return Schedule(process, "velocity", float(process.sigma(first)))
