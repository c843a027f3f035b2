r"""Grids: decreasing noise levels, with the teacher's own times beside them.

A grid of N intervals has N + 1 nodes ``sigma_0 > sigma_1 > ... > sigma_N``. Named functions make N + 1 levels from
``sigma_max`` to ``sigma_min``; what becomes of the last one is the explicit choice ``end``:

* ``zero`` (default): the last level is replaced by 0, so N evaluations make N useful steps;
* ``append``: N levels from ``sigma_max`` to ``sigma_min``, then 0 (EDM and k-diffusion);
* ``sigma_min``: the grid stops there and nothing is denoised (diff-sampler).

Any grid composes with any solver. A new named grid is a function and a row in ``GRIDS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bench.errors import UsageError, unknown
from bench.process import EDM, Process, RectifiedFlow, VPLinear
from bench.spec import Spec, parse

ENDS = ("zero", "append", "sigma_min")


@dataclass(frozen=True)
class Grid:
    """Noise levels to visit, in order.

    Attributes:
        sigma: (N + 1,) float64, strictly decreasing, finite, non-negative.
        process: gives the teacher's own time of each node.

    Raises:
        UsageError: fewer than two nodes, or not strictly decreasing.
    """

    sigma: Tensor
    process: Process

    def __post_init__(self) -> None:
        sigma = self.sigma
        if sigma.ndim != 1 or len(sigma) < 2 or sigma.dtype != torch.float64:
            raise UsageError("a grid is a float64 vector of at least two noise levels")
        if not bool(torch.isfinite(sigma).all()) or bool((sigma[1:] >= sigma[:-1]).any()) or float(sigma[-1]) < 0:
            raise UsageError(f"a grid must be finite, strictly decreasing and not below 0, not {sigma.tolist()}")

    def __len__(self) -> int:
        """The number of nodes, one more than the number of intervals."""
        return len(self.sigma)

    @cached_property
    def nodes(self) -> list[float]:
        """The noise levels as Python floats: solver coefficients are float64 scalars, not tensors."""
        return [float(sigma) for sigma in self.sigma]

    @cached_property
    def t(self) -> Tensor:
        """(N + 1,) float64: the teacher's own time of each node."""
        return self.process.time(self.sigma)

    def steps(self) -> Iterator[tuple[float, float]]:
        """The intervals ``(sigma_s, sigma_t)``, from noisy to clean."""
        return zip(self.nodes[:-1], self.nodes[1:], strict=True)


@dataclass(frozen=True)
class Levels:
    """What a named grid is made from: ``count`` levels from ``sigma_max`` down to ``sigma_min``, both included."""

    count: int
    sigma_min: float
    sigma_max: float
    process: Process

    def linspace(self, high: float | Tensor, low: float | Tensor) -> Tensor:
        """(count,) float64, evenly spaced; a single level is the high one."""
        return torch.linspace(float(high), float(low), self.count, dtype=torch.float64)


def karras(levels: Levels, rho: float = 7.0) -> Tensor:
    r"""``sigma_i = (sigma_max^{1/rho} + u_i (sigma_min^{1/rho} - sigma_max^{1/rho}))^rho`` (2206.00364, Eq. 5)."""
    if not 0.1 <= rho <= 1000:  # beyond, powers overflow or the levels collapse
        raise UsageError(f"rho of the karras grid must be between 0.1 and 1000, not {rho}")
    return levels.linspace(levels.sigma_max ** (1 / rho), levels.sigma_min ** (1 / rho)) ** rho


def logsnr(levels: Levels) -> Tensor:
    """Uniform in ``lambda = -log sigma`` (DPM-Solver, arXiv 2206.00927, Sec. 3)."""
    ends = torch.tensor([levels.sigma_max, levels.sigma_min], dtype=torch.float64).log()
    return levels.linspace(ends[0], ends[1]).exp()


def _in_time(levels: Levels, process: Process, power: float) -> Tensor:
    """Uniform in ``time^{1/power}`` of a process, its end levels kept exactly."""
    high, low = (process.time(torch.tensor(s, dtype=torch.float64)) for s in (levels.sigma_max, levels.sigma_min))
    # times below the clean reference (discrete processes) have no root; they count from time(0)
    clean = process.time(torch.zeros((), dtype=torch.float64))
    times = clean + levels.linspace((high - clean) ** (1 / power), (low - clean) ** (1 / power)) ** power
    return process.sigma(times)


def time_uniform(levels: Levels) -> Tensor:
    """Uniform in the teacher's own time."""
    return _in_time(levels, levels.process, 1.0)


def time_quadratic(levels: Levels) -> Tensor:
    """Uniform in the square root of the teacher's own time (DDIM, arXiv 2010.02502, App. D.2)."""
    return _in_time(levels, levels.process, 2.0)


def vp_uniform(levels: Levels) -> Tensor:
    """Uniform in the time of the VP process with beta from 0.1 to 20, whatever the teacher's own process is."""
    return _in_time(levels, VPLinear(), 1.0)


def vp_quadratic(levels: Levels) -> Tensor:
    """Uniform in the square root of the time of the VP process with beta from 0.1 to 20."""
    return _in_time(levels, VPLinear(), 2.0)


def flow_uniform(levels: Levels) -> Tensor:
    """Uniform in the time ``t = sigma / (1 + sigma)`` of a rectified flow, whatever the teacher's own process is."""
    return _in_time(levels, RectifiedFlow(), 1.0)


# Align Your Steps (arXiv 2404.14507), noise levels released for 10 steps at
# research.nvidia.com/labs/toronto-ai/AlignYourSteps/howto.html; diffusers' AysSchedules has 0 in place of the last ones
AYS_SD15 = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
AYS_SDXL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)
AYS_SVD = (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002)


def _published(levels: Levels, table: tuple[float, ...]) -> Tensor:
    """A table interpolated log-linearly over its index, as its authors do, then stretched to the suite's range.

    Stretching is affine in log sigma and leaves the table as it is where the suite has its range.
    """
    known = torch.tensor(table, dtype=torch.float64).log()
    at = levels.linspace(0, len(table) - 1)
    low = at.floor().long().clamp(max=len(table) - 2)
    share = (known[0] - torch.lerp(known[low], known[low + 1], at - low)) / (known[0] - known[-1])
    return levels.sigma_max * (levels.sigma_min / levels.sigma_max) ** share


def ays_sd15(levels: Levels) -> Tensor:
    """Align Your Steps for Stable Diffusion 1.5, stretched to the suite's range (arXiv 2404.14507)."""
    return _published(levels, AYS_SD15)


def ays_sdxl(levels: Levels) -> Tensor:
    """Align Your Steps for SDXL, stretched to the suite's range (arXiv 2404.14507)."""
    return _published(levels, AYS_SDXL)


def ays_svd(levels: Levels) -> Tensor:
    """Align Your Steps for Stable Video Diffusion, stretched to the suite's range (arXiv 2404.14507)."""
    return _published(levels, AYS_SVD)


GRIDS: dict[str, Callable[..., Tensor]] = {
    "karras": karras,
    "logsnr": logsnr,
    "time_uniform": time_uniform,
    "time_quadratic": time_quadratic,
    "vp_uniform": vp_uniform,
    "vp_quadratic": vp_quadratic,
    "flow_uniform": flow_uniform,
    "ays_sd15": ays_sd15,
    "ays_sdxl": ays_sdxl,
    "ays_svd": ays_svd,
}


def check_grid(spec: Spec | str) -> tuple[Spec, str, dict[str, float]]:
    """A grid's spec, its end and its numbers, all that can be checked before the suite and the budget are known.

    Raises:
        UsageError: an unknown grid or parameter, or a value that is not a number.
    """
    spec = parse(spec) if isinstance(spec, str) else spec
    params = dict(spec.params)
    if spec.name == "user":
        if set(params) != {"sigmas"}:
            raise UsageError(f"{spec} is not a user grid; write user[sigmas=80/1/0]")
        Grid(_user_sigmas(params["sigmas"]), EDM())
        return spec, "", {}
    if spec.name not in GRIDS:
        raise unknown("grid", spec.name, [*GRIDS, "user"])
    end = params.pop("end", "zero")
    if end not in ENDS:
        raise unknown("grid end", end, ENDS)
    allowed = GRIDS[spec.name].__annotations__.keys() - {"levels", "return"}
    for key in params:
        if key not in allowed:
            raise unknown(f"parameter of grid {spec.name}", key, [*allowed, "end"])
    try:
        return spec, end, {key: float(value) for key, value in params.items()}
    except ValueError as error:
        raise UsageError(f"parameters of grid {spec} must be numbers") from error


def _user_sigmas(text: str) -> Tensor:
    """The noise levels a user wrote out: ``80/9.7/0.5/0``."""
    try:
        return torch.tensor([float(part) for part in text.split("/")], dtype=torch.float64)
    except ValueError as error:
        raise UsageError(f"sigmas of a user grid are numbers separated by '/', not {text!r}") from error


def ends_in_zero(spec: Spec | str) -> bool:
    """Whether the grid of this spec reaches sigma = 0."""
    spec, end, _ = check_grid(spec)
    return end != "sigma_min" if end else float(_user_sigmas(dict(spec.params)["sigmas"])[-1]) == 0


def make_grid(spec: Spec | str, intervals: int, sigma_min: float, sigma_max: float, process: Process) -> Grid:
    """Build a grid from its spec.

    Args:
        spec: ``karras``, ``karras[rho=5,end=append]``, ``user[sigmas=80/1/0]``, ...
        intervals: N >= 1, the number of solver steps.
        sigma_min, sigma_max: the suite's range of noise levels.
        process: the teacher's process.

    Raises:
        UsageError: an unknown grid or parameter, or a user grid with another number of intervals.
    """
    spec, end, numbers = check_grid(spec)
    if spec.name == "user":
        grid = Grid(_user_sigmas(dict(spec.params)["sigmas"]), process)
        if len(grid) != intervals + 1:
            raise UsageError(f"the user grid has {len(grid) - 1} intervals where {intervals} are needed")
        return grid
    count = intervals if end == "append" else intervals + 1
    sigma = GRIDS[spec.name](Levels(count, sigma_min, sigma_max, process), **numbers)
    sigma[0] = sigma_max  # rounding of powers and logarithms must not move the start
    if end == "append":
        sigma = torch.cat([sigma, sigma.new_zeros(1)])
    else:
        sigma[-1] = 0.0 if end == "zero" else sigma_min
    return Grid(sigma, process)
