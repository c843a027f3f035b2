"""ODE-Jump: DDIM with another last level, closed forms on a Gaussian, and the budget."""

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
from methods.solvers.ode_jump import OdeJump

HIGH, LOW = 10.0, 0.02


class Calls:
    """A denoiser that notes its levels."""

    def __init__(self, denoise: Callable[..., Tensor]) -> None:
        self.denoise = denoise
        self.levels: list[float] = []

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        self.levels.append(float(sigma))
        return self.denoise(x, sigma)


def problem(denoise: Callable[..., Tensor], x: Tensor) -> Problem:
    def none(_: object) -> object:
        raise Unsupported("not here")

    noise = SampleNoise(("test", 0, "method"), range(len(x)), x.shape[1:], x.dtype)
    return Problem(Ledger().denoiser(denoise), x, noise, EDM(), LOW, HIGH, {}, none, make_solver)


def gaussian(x: Tensor, sigma: float | Tensor) -> Tensor:
    return 0.3 + 0.49 / (0.49 + float(sigma) ** 2) * (x - 0.3)


@pytest.mark.parametrize("nfe", [2, 3, 6])
@pytest.mark.parametrize("grid", ["karras", "karras[rho=5]", "karras[end=zero,rho=5]", "logsnr[end=append]"])
def test_over_ddim_is_ddim_with_another_last_level(denoise, noise, nfe: int, grid: str) -> None:
    x, jump, steps = HIGH * noise(), 0.4, nfe - 1
    if grid.startswith("karras"):
        rho = 5 if "rho" in grid else 7
        ends = HIGH ** (1 / rho), jump ** (1 / rho)
        levels = [(ends[0] + i / steps * (ends[1] - ends[0])) ** rho for i in range(nfe)]
    else:
        levels = [HIGH * (jump / HIGH) ** (i / steps) for i in range(nfe)]
    text = "/".join(map(repr, [HIGH, *levels[1:-1], jump, 0.0]))
    calls = Calls(denoise)
    ours = OdeJump(solver=f"ddim[grid={grid}]", sigma_jump=jump).sample(problem(calls, x), nfe)
    assert calls.levels == pytest.approx([*levels[:-1], jump], rel=1e-12)
    theirs = create("method", f"ddim[grid=user[sigmas={text}]]").sample(problem(denoise, x), nfe)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("solver", "nfe"), [("dpm_solver_pp", 101), ("heun", 101), ("ipndm[grid=karras]", 101)])
def test_the_end_is_the_image_of_the_exact_state(noise, solver: str, nfe: int) -> None:
    x, jump = HIGH * noise(), 0.5
    state = 0.3 + math.hypot(jump, 0.7) / math.hypot(HIGH, 0.7) * (x - 0.3)
    ours = OdeJump(solver=solver, sigma_jump=jump).sample(problem(gaussian, x), nfe)
    torch.testing.assert_close(ours, gaussian(state, jump), rtol=0, atol=2e-3)


def test_one_evaluation_jumps_from_the_start(denoise, noise) -> None:
    x, calls = HIGH * noise(), Calls(denoise)
    assert torch.equal(OdeJump().sample(problem(calls, x), 1), denoise(x, HIGH))
    assert calls.levels == [HIGH]


def test_defaults_and_the_level_of_the_jump(denoise, noise) -> None:
    calls = Calls(denoise)
    OdeJump().sample(problem(calls, HIGH * noise()), 4)
    assert OdeJump().solver == "dpm_solver_pp"
    assert len(calls.levels) == 4
    assert calls.levels[-1] == 0.1


def test_stochastic_solvers_draw_their_noise(denoise, noise) -> None:
    x = HIGH * noise()
    ends = [OdeJump(solver=f"ddim[eta={eta}]").sample(problem(denoise, x), 4) for eta in (0, 1, 1)]
    assert torch.equal(ends[1], ends[2])
    assert float((ends[0] - ends[1]).abs().max()) > 1e-3


def test_a_level_at_the_end_of_the_range(denoise, noise) -> None:
    x = HIGH * noise()
    ours = OdeJump(solver="ddim", sigma_jump=LOW).sample(problem(denoise, x), 5)
    theirs = create("method", "ddim[grid=karras[end=append]]").sample(problem(denoise, x), 5)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_what_is_refused(denoise, noise) -> None:
    for jump in (0.99 * LOW, HIGH, 2 * HIGH):
        with pytest.raises(Unsupported, match=r"not between the suite's noise levels, 0\.02 and 10"):
            OdeJump(sigma_jump=jump).sample(problem(denoise, noise()), 4)
    with pytest.raises(Unsupported, match="a user grid has its own end"):
        OdeJump(solver="ddim[grid=user[sigmas=10/1/0.1]]").sample(problem(denoise, noise()), 3)
    with pytest.raises(Unsupported, match="evaluations; use nfe"):
        OdeJump(solver="heun").sample(problem(denoise, noise()), 4)
    for spec in ("sigma_jump=0", "sigma_jump=-1", "sigma_jump=x"):
        with pytest.raises(UsageError):
            create("method", f"ode_jump[{spec}]")
