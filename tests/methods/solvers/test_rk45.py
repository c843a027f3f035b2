"""RK45 against scipy state by state in both coordinates, its tableau, and its budget."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.integrate import RK45 as Scipy
from scipy.integrate import solve_ivp
from torch import Tensor

from bench.api import Problem, Unsupported
from bench.errors import UsageError
from bench.nfe import Ledger
from bench.process import EDM
from bench.registry import create
from bench.rng import SampleNoise
from methods.solvers import rk45
from methods.solvers.rk45 import RK45

HIGH, LOW = 10.0, 0.02


class Calls:
    """A denoiser that notes each sample's levels."""

    def __init__(self, denoise: Callable[..., Tensor]) -> None:
        self.denoise = denoise
        self.levels: list[Tensor] = []

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        self.levels.append(torch.as_tensor(sigma).double().expand(len(x)).clone())
        return self.denoise(x, sigma)


def problem(denoise: Callable[..., Tensor], x: Tensor) -> Problem:
    def none(_: object) -> object:
        raise Unsupported("not here")

    noise = SampleNoise(("test", 0, "method"), range(len(x)), x.shape[1:], x.dtype)
    return Problem(Ledger().denoiser(denoise), x, noise, EDM(), LOW, HIGH, {}, none, none)


def gaussian(x: Tensor, sigma: float | Tensor) -> Tensor:
    level = torch.as_tensor(sigma, dtype=x.dtype).view(-1, *[1] * (x.ndim - 1))
    return 0.3 + 0.49 / (0.49 + level**2) * (x - 0.3)


def vp_sigma(t: float) -> float:
    return math.sqrt(math.expm1(9.95 * t**2 + 0.1 * t))


def vp_time(sigma: float) -> float:
    return (math.sqrt(0.01 + 39.8 * math.log1p(sigma**2)) - 0.1) / 19.9


def by_scipy(denoise: Callable[..., Tensor], x: Tensor, coordinates: str, rtol: float, atol: float) -> Tensor:
    """The end of one state (d,), denoised, in Score SDE's own times, from the noisy end downwards."""

    def ve(t: float, z: np.ndarray) -> np.ndarray:
        state = torch.from_numpy(z.copy())[None]
        return math.log(HIGH / LOW) * (state - denoise(state, LOW * (HIGH / LOW) ** t))[0].numpy()

    def vp(t: float, z: np.ndarray) -> np.ndarray:
        sigma, beta = vp_sigma(t), 0.1 + 19.9 * t
        state = torch.from_numpy(z.copy())[None] * math.sqrt(1 + sigma**2)
        score = (denoise(state, sigma) - state)[0].numpy() / sigma**2 * math.sqrt(1 + sigma**2)
        return -0.5 * beta * (z + score)

    span, slope, scale = ((1.0, 0.0), ve, lambda _: 1.0)
    if coordinates == "vp":
        span, slope, scale = (vp_time(HIGH), vp_time(LOW)), vp, lambda sigma: math.sqrt(1 + sigma**2)
    out = solve_ivp(slope, span, x.numpy() / scale(HIGH), method="RK45", rtol=rtol, atol=atol)
    return denoise(torch.from_numpy(out.y[:, -1])[None] * scale(LOW), LOW)


def test_the_tableau_is_scipys() -> None:
    for row, theirs in zip(rk45.STAGES[:5], Scipy.A[1:], strict=True):
        assert list(row) == pytest.approx(theirs[: len(row)].tolist(), rel=1e-15)
    assert list(rk45.STAGES[5]) == pytest.approx(Scipy.B.tolist(), rel=1e-15)
    assert list(rk45.NODES[:5]) == pytest.approx(Scipy.C[1:].tolist(), rel=1e-15)
    assert rk45.NODES[5] == 1
    assert list(rk45.ERROR) == pytest.approx(Scipy.E.tolist(), rel=1e-15)
    assert [sum(row) for row in rk45.STAGES] == pytest.approx(list(rk45.NODES), rel=1e-14)


@pytest.mark.parametrize("coordinates", ["ve", "vp"])
@pytest.mark.parametrize(("rtol", "atol"), [(0.05, 0.05), (1e-3, 1e-2), (0.3, 1e-4)])
def test_is_scipy_for_every_sample(denoise, noise, coordinates: str, rtol: float, atol: float) -> None:
    x = HIGH * noise()
    ours = RK45(rtol=rtol, atol=atol, coordinates=coordinates).sample(problem(denoise, x), 302)
    theirs = torch.cat([by_scipy(denoise, row, coordinates, rtol, atol) for row in x])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("coordinates", ["ve", "vp"])
@pytest.mark.parametrize("nfe", [1, 2, 8, 14, 20])
def test_the_budget_is_kept(denoise, noise, coordinates: str, nfe: int) -> None:
    x, calls = HIGH * noise(), Calls(denoise)
    end = RK45(coordinates=coordinates).sample(problem(calls, x), nfe)
    assert len(calls.levels) == nfe
    torch.testing.assert_close(calls.levels[0], torch.full((8,), HIGH, dtype=torch.float64), rtol=1e-12, atol=0)
    for level in calls.levels:
        assert bool((level <= HIGH * (1 + 1e-12)).all()) and bool((level >= LOW * (1 - 1e-12)).all())
    if nfe < 8:
        torch.testing.assert_close(end, denoise(x, HIGH), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("nfe", "near"), [(3, "2 or 8"), (7, "2 or 8"), (9, "8 or 14"), (13, "8 or 14"), (16, "14 or 20")]
)
def test_other_budgets_are_refused(denoise, noise, nfe: int, near: str) -> None:
    with pytest.raises(Unsupported, match=f"use nfe {near}$"):
        RK45().sample(problem(denoise, noise()), nfe)


def test_the_result_is_the_image_at_the_last_state(denoise, noise) -> None:
    """After one, two and three accepted steps, taken by scipy."""
    growth = math.log(HIGH / LOW)

    def slope(t: float, z: np.ndarray) -> np.ndarray:
        state = torch.from_numpy(z.copy())[None]
        return growth * (state - denoise(state, LOW * math.exp(growth * t)))[0].numpy()

    x = HIGH * noise()
    ends = [RK45(rtol=0.1, atol=0.1).sample(problem(denoise, x), nfe) for nfe in (8, 14, 20)]
    for i, row in enumerate(x[:4]):
        theirs = Scipy(slope, 1.0, row.numpy(), 0.0, rtol=0.1, atol=0.1)
        for end in ends:
            theirs.step()
            if theirs.nfev != 2 + 6 * (1 + next(j for j, other in enumerate(ends) if other is end)):
                break  # it had to try again
            expected = denoise(torch.from_numpy(theirs.y)[None], LOW * math.exp(growth * theirs.t))
            torch.testing.assert_close(end[i : i + 1], expected, rtol=0, atol=1e-9)


def test_arrived_samples_idle(denoise, noise) -> None:
    x = HIGH * noise()
    for coordinates in ("ve", "vp"):
        calls = Calls(denoise)
        ends = [RK45(coordinates=coordinates).sample(problem(calls, x), nfe) for nfe in (92, 98, 152)]
        assert torch.equal(ends[0], ends[1])
        assert torch.equal(ends[0], ends[2])
        torch.testing.assert_close(calls.levels[-1], torch.full((8,), LOW, dtype=torch.float64), rtol=1e-9, atol=0)


@pytest.mark.parametrize("coordinates", ["ve", "vp"])
def test_samples_do_not_see_each_other(denoise, noise, coordinates: str) -> None:
    x, method = HIGH * noise(), RK45(coordinates=coordinates)
    together = method.sample(problem(denoise, x), 20)
    alone = torch.cat([method.sample(problem(denoise, row[None]), 20) for row in x])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("coordinates", ["ve", "vp"])
def test_converges_to_the_closed_form_on_images(coordinates: str) -> None:
    x = HIGH * torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(3))
    truth = gaussian(0.3 + math.hypot(LOW, 0.7) / math.hypot(HIGH, 0.7) * (x - 0.3), LOW)
    end = RK45(rtol=1e-4, atol=1e-4, coordinates=coordinates).sample(problem(gaussian, x), 152)
    assert (end.shape, end.dtype) == (x.shape, torch.float32)
    torch.testing.assert_close(end, truth, rtol=0, atol=5e-3)


@pytest.mark.parametrize("spec", ["rtol=-1", "atol=0", "coordinates=edm"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"rk45[{spec}]")
