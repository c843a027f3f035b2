"""Time shift: no window is the base solver, a brute-force search for the times, and what the solver is given."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.api import Problem, Unsupported
from bench.errors import UsageError
from bench.nfe import Ledger
from bench.process import EDM
from bench.registry import create
from bench.rng import SampleNoise
from bench.sampling import make_solver
from methods.solvers.time_shift import TimeShift

HIGH, LOW = 80.0, 0.02
ABAR = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)


def level(index: int) -> float:
    return math.sqrt((1 - float(ABAR[index])) / float(ABAR[index]))


class Calls:
    """A denoiser that notes each sample's levels and states."""

    def __init__(self, denoise: Callable[..., Tensor]) -> None:
        self.denoise = denoise
        self.levels: list[Tensor] = []
        self.states: list[Tensor] = []

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        self.levels.append(torch.as_tensor(sigma).double().expand(len(x)).clone())
        self.states.append(x.clone())
        return self.denoise(x, sigma)


def problem(denoise: Callable[..., Tensor], x: Tensor, high: float = HIGH) -> Problem:
    def none(_: object) -> object:
        raise Unsupported("not here")

    noise = SampleNoise(("test", 0, "method"), range(len(x)), x.shape[1:], x.dtype)
    return Problem(Ledger().denoiser(denoise), x, noise, EDM(), LOW, high, {}, none, make_solver)


def gaussian(x: Tensor, sigma: float | Tensor) -> Tensor:
    at = torch.as_tensor(sigma, dtype=x.dtype).view(-1, *[1] * (x.ndim - 1))
    return 0.3 + 0.49 / (0.49 + at**2) * (x - 0.3)


@pytest.mark.parametrize("base", ["ddim", "ipndm", "deis", "heun", "ddim[eta=1]"])
@pytest.mark.parametrize("spec", ["window=0,cutoff=0", "window=1,cutoff=0", "window=40,cutoff=1000"])
def test_nothing_to_shift_is_the_base_solver(denoise, noise, base: str, spec: str) -> None:
    x = HIGH * noise()
    wrapped = create("method", f"time_shift[solver={base},{spec}]").sample(problem(denoise, x), 5)
    alone = create("method", base).sample(problem(denoise, x), 5)
    torch.testing.assert_close(wrapped, alone, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("window", "half"), [(6, 3), (7, 3), (40, 20)])
@pytest.mark.parametrize("index", [8, 500, 870])
def test_times_are_those_of_a_search_over_the_table(window: int, half: int, index: int) -> None:
    sigma, top = level(index), 900
    x = torch.randn(6, 3, 2, generator=torch.Generator().manual_seed(index), dtype=torch.float64)
    spread = torch.tensor([0.9, 0.97, 0.999, 1.0, 1.01, 2.0], dtype=torch.float64).view(-1, 1, 1)
    x = x / x.flatten(1).std(1).view(-1, 1, 1) * (spread * (1 - ABAR[index])).sqrt() * math.sqrt(1 + sigma**2)
    calls = Calls(gaussian)
    given = TimeShift(window=window, cutoff=0).shifted(calls, float(top))(x, sigma)
    variance = (x / math.sqrt(1 + sigma**2)).flatten(1).var(1)
    for row, found in enumerate(calls.levels[0].tolist()):
        near = range(max(index - half, 0), min(index + half, top) + 1)
        best = min(near, key=lambda j, row=row: abs(float(variance[row]) - (1 - float(ABAR[j]))))
        assert found == pytest.approx(level(best), rel=1e-9)
        # the network sees the same variance-preserving state, and its noise is what the solver gets
        z = x[row] / math.sqrt(1 + sigma**2)
        seen = z * math.sqrt(1 + found**2)
        torch.testing.assert_close(calls.states[0][row], seen, rtol=1e-9, atol=1e-12)
        eps = (seen - gaussian(seen[None], found)[0]) / found
        torch.testing.assert_close(given[row], x[row] - sigma * eps, rtol=1e-8, atol=1e-9)


def test_the_cutoff_is_not_shifted_and_the_next_index_is() -> None:
    x = torch.randn(2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for index, moved in ((399, False), (400, False), (401, True)):
        calls = Calls(gaussian)
        TimeShift(window=20, cutoff=400).shifted(calls, 999.0)(x * level(index) * 3, level(index))
        same = bool((calls.levels[0] - level(index)).abs().max() < 1e-9)
        assert same is not moved
        if moved:  # far too much variance: the latest time there is
            torch.testing.assert_close(calls.levels[0], torch.full((2,), level(index + 10), dtype=torch.float64))


def test_times_between_indices_move_by_whole_indices() -> None:
    """Log sigma is linear between two indices."""
    at = 600.3

    def between(time: float) -> float:
        low = int(time)
        return level(low) ** (low + 1 - time) * level(low + 1) ** (time - low)

    x = 9 * between(at) * torch.randn(3, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    calls = Calls(gaussian)
    TimeShift(window=8, cutoff=300).shifted(calls, 999.0)(x, between(at))
    torch.testing.assert_close(calls.levels[0], torch.full((3,), between(at + 4), dtype=torch.float64))


def test_levels_of_every_sample_and_no_time_above_the_start(noise) -> None:
    x = 30 * noise()
    sigma = torch.linspace(1.0, HIGH, 8, dtype=torch.float64)
    calls = Calls(gaussian)
    method = TimeShift(window=200, cutoff=0)
    method.sample(problem(calls, 3 * HIGH * noise()), 6)
    for levels in calls.levels:
        assert bool((levels <= HIGH * (1 + 1e-9)).all()) and bool((levels > 0).all())
    assert float(calls.levels[0].max()) == pytest.approx(HIGH)
    together = method.shifted(gaussian, 930.0)(x, sigma)
    alone = torch.cat([method.shifted(gaussian, 930.0)(x[i : i + 1], float(sigma[i])) for i in range(8)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("base", ["ddim", "ipndm", "deis"])
def test_samples_do_not_see_each_other(denoise, noise, base: str) -> None:
    x, method = HIGH * noise(), TimeShift(solver=base, window=60, cutoff=100)
    calls = Calls(denoise)
    together = method.sample(problem(calls, x), 6)
    assert len(calls.levels) == 6
    assert any(len(set(levels.tolist())) > 1 for levels in calls.levels)
    alone = torch.cat([method.sample(problem(denoise, row[None]), 6) for row in x])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


def test_images_in_single_precision() -> None:
    x = HIGH * torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(3))
    single, double = (TimeShift().sample(problem(gaussian, value), 5) for value in (x, x.double()))
    assert (single.shape, single.dtype) == (x.shape, torch.float32)
    torch.testing.assert_close(single, double.float(), rtol=1e-3, atol=1e-3)


def test_defaults_are_those_of_the_docstring() -> None:
    assert (TimeShift().solver, TimeShift().window, TimeShift().cutoff) == ("ddim", 30, 300)


def test_what_is_refused(denoise, noise) -> None:
    with pytest.raises(Unsupported, match="no variance over its pixels"):
        TimeShift().sample(problem(denoise, noise()[:, :1]), 4)
    TimeShift().sample(problem(gaussian, noise()[:, :2]), 4)
    with pytest.raises(Unsupported, match="not a solver"):
        TimeShift(solver="time_shift").sample(problem(denoise, noise()), 4)
    for spec in ("window=-1", "window=1001", "cutoff=-1", "cutoff=1001", "solver=unheard_of"):
        with pytest.raises(UsageError):
            create("method", f"time_shift[{spec}]").sample(problem(denoise, noise()), 4)
