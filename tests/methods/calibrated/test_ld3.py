"""The parameters against their definitions, the loss against the solver itself, and what learning brings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache

import pytest
import torch
from torch import Tensor

from bench.api import Method, Unsupported
from bench.contract import Stage, run_checks
from bench.nfe import Ledger
from bench.probe import grid_of, same_noise
from bench.process import EDM, Process, VPLinear
from bench.sampling import make_solver
from bench.suites.mixture import Mixture, mixture
from methods.calibrated.ld3 import LD3, asked_levels, levels_of, moved

ROOT = 1 / 7
SMALL = {"batches": 1, "batch": 8, "teacher_steps": 20}


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def teacher(x: Tensor, sigma: float | Tensor) -> Tensor:
    return mixture("mixture-2d").to("cpu", x.dtype).denoise(x, sigma)


def start() -> Tensor:
    return 10 * torch.randn(4, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_levels_are_increments_of_the_root_by_softmax() -> None:
    u = vector(80, 3, 1, 0) ** ROOT
    equal = levels_of(torch.zeros(3, dtype=torch.float64), u)
    torch.testing.assert_close(equal, vector(80, 80 * (2 / 3) ** 7, 80 / 3**7, 0))
    a = vector(2, 1, 1).log() + 5.0
    torch.testing.assert_close(levels_of(a, u), vector(80, 80 / 2**7, 80 / 4**7, 0))
    # the differences of a grid's roots are that grid
    torch.testing.assert_close(levels_of((u[:-1] - u[1:]).log(), u), u**7)
    above = vector(80, 3, 0.5) ** ROOT
    assert float(levels_of(torch.zeros(2, dtype=torch.float64), above)[-1]) == pytest.approx(0.5)


def test_asked_levels_are_shifted_roots_within_half_of_the_smallest_step() -> None:
    sigma = vector(3.0, 2.0, 1.5, 0.0) ** 7  # roots 3, 2, 1.5, 0: the smallest step is 1/2
    levels = sigma[:-1]
    shifted = asked_levels(levels, vector(0.2, 0.1, -0.2), sigma)
    torch.testing.assert_close(shifted, vector(3.0, 2.1, 1.3) ** 7)
    beyond = asked_levels(levels, vector(-1.0, 1.0, -1.0), sigma)
    torch.testing.assert_close(beyond, vector(3.0, 2.25, 1.25) ** 7)
    # an intermediate level close below the first one may not pass it
    near = asked_levels(vector(3.0, 2.9) ** 7, vector(0.0, 0.2), sigma)
    torch.testing.assert_close(near, vector(3.0, 3.0) ** 7)


@pytest.mark.parametrize("process", [EDM(), VPLinear()], ids=lambda process: process.name)
def test_a_moved_evaluation_is_a_noise_prediction_at_another_time(process: Process) -> None:
    """As a network sees it: ``eps(alpha x, t)`` of the state as it is, at the time of the other level."""
    x, level, asked = start(), 2.0, 1.5

    def alpha(sigma: float) -> Tensor:
        return process.alpha(process.time(vector(sigma)))

    y = x * alpha(level) / alpha(asked)
    eps = (y - teacher(y, asked)) / asked
    found = moved(teacher, process, vector(asked))(x, level)
    torch.testing.assert_close(found, x - level * eps)
    unmoved = moved(teacher, process, vector(3.0, level))
    torch.testing.assert_close(unmoved(x, 3.0), teacher(x, 3.0))
    torch.testing.assert_close(unmoved(x, torch.tensor(level)), teacher(x, level))
    assert moved(teacher, process, vector(1.0))(x.float(), 2.0).dtype == torch.float32


@pytest.mark.parametrize(("decoupled", "names"), [(True, {"sigma", "asked"}), (False, {"sigma"})])
@pytest.mark.parametrize("solver", ["ddim", "dpm_solver_pp", "heun"])
def test_learning_helps_on_fresh_noise(
    task: Callable, error: Callable, solver: str, decoupled: bool, names: set[str]
) -> None:
    method = LD3(solver=solver, decoupled=decoupled, batches=1, batch=16, iterations=30)
    fitted = method.fit(task(), 3)
    assert set(fitted) == names and all(value.dtype == torch.float64 for value in fitted.values())
    sigma = fitted["sigma"]
    assert (len(sigma), sigma[0], sigma[-1]) == ({"heun": 3}.get(solver, 4), 80, 0)
    assert not any(value.requires_grad for value in fitted.values())
    begun = LD3(solver=solver, iterations=0, **SMALL).fit(task(), 3)
    torch.testing.assert_close(begun["sigma"], task().grid("karras", len(sigma) - 1).sigma)
    assert error(method, 3, fitted) < 0.7 * error(method, 3, begun)


def test_evaluations_at_levels_of_their_own_help(task: Callable, error: Callable) -> None:
    coupled, decoupled = (LD3(decoupled=value, batches=1, iterations=60) for value in (False, True))
    assert error(decoupled, 2, decoupled.fit(task(), 2)) < 0.9 * error(coupled, 2, coupled.fit(task(), 2))


def test_at_first_only_the_steps_are_learned(task: Callable) -> None:
    """After 2 of 7 iterations the evaluations follow; what is best of checks at 0, 6, ... is kept."""
    early = LD3(iterations=42, rate_decoupled=0.5, **SMALL)
    asked = []
    progress = task().progress

    def watch(done: int, total: int, message: str = "") -> None:
        progress(done, total, message)
        asked.append((done, total))

    fitting = task()
    fitting.progress = watch
    early.fit(fitting, 3)
    assert asked == [(i, 42) for i in range(0, 43, 6)]
    # 6 iterations: 2 of 7 are over at the second, so that b has moved at the check of the sixth
    sixth = LD3(iterations=6, rate=1e-12, rate_decoupled=0.05, **SMALL).fit(task(), 3)
    assert not torch.allclose(sixth["asked"], sixth["sigma"][:-1], rtol=1e-3)
    none = LD3(iterations=6, rate=1e-12, rate_decoupled=1e-12, **SMALL).fit(task(), 3)
    torch.testing.assert_close(none["asked"], none["sigma"][:-1], rtol=1e-6, atol=0)


def test_steps_are_limited_by_the_norm_of_the_gradient(task: Callable) -> None:
    """One step of gradient descent on b moves it by at most its rate."""
    begun = LD3(iterations=0, **SMALL).fit(task(), 3)
    small = LD3(iterations=6, rate=1e-12, rate_decoupled=0.001, **SMALL).fit(task(), 3)
    shift = small["asked"] ** ROOT - begun["asked"] ** ROOT
    assert 0 < float(shift.norm()) <= 6 * 0.001 + 1e-9


def test_the_gradient_descends_on_the_solvers_own_error(task: Callable) -> None:
    """The kept schedule has the lowest mean square on the pairs that judge, measured with the solver itself."""
    fitting = task()
    drawn = []
    noise = fitting.noise

    def remember(count: int) -> object:
        drawn.append(noise(count))
        return drawn[-1]

    fitting.noise = remember
    method = LD3(solver="ipndm", iterations=30, decoupled=False, **SMALL)
    fitted = method.fit(fitting, 4)
    assert len(drawn) == 2  # one batch to learn, one to judge
    errors = []
    for sigma in (fitted["sigma"], task().grid("karras", 4).sigma):
        batch = drawn[1]
        target = make_solver("dpm_solver_pp").integrate(
            batch.denoise, batch.x, task().grid("karras", 20), same_noise(batch.x)
        )
        made = make_solver("ipndm").integrate(
            batch.denoise, batch.x, grid_of(sigma.tolist(), EDM()), same_noise(batch.x)
        )
        errors.append(float((made - target).square().mean()))
    assert errors[0] < 0.5 * errors[1]


def test_cost(task: Callable) -> None:
    fitting = task()
    LD3(solver="ddim", iterations=12, batches=2, batch=4, teacher_steps=10).fit(fitting, 3)
    # teachers of 4 batches; 13 training runs; checks at 0, 6, 12 on 2 batches
    assert fitting.ledger.network_rows == 4 * 4 * 10 + 13 * 4 * 3 + 3 * 2 * 4 * 3
    assert fitting.images == 0
    one = task()
    LD3(solver="ddim", batches=1, batch=4, teacher_steps=10).fit(one, 1)
    assert one.ledger.network_rows == 2 * 4 * 10 + 2 * 4  # nothing to learn: one run each


def test_another_sampler_asks_at_its_own_levels(task: Callable) -> None:
    sigma = vector(80, 5, 1, 0)
    artifact = {"sigma": sigma, "asked": vector(80, 4, 0.8)}
    problem = dataclasses.replace(_problem(3), artifact=artifact)
    plain = make_solver("ipndm").integrate(problem.denoise, problem.x, grid_of(sigma.tolist(), EDM()), problem.noise)
    for method in (LD3(sampler="ipndm"), LD3(solver="ipndm", decoupled=False)):
        given = artifact if method.sampler else {"sigma": sigma}
        made = method.sample(dataclasses.replace(_problem(3), artifact=given), 3)
        torch.testing.assert_close(made, plain)
    for method in (LD3(solver="ipndm"), LD3(solver="ipndm", sampler="ipndm")):
        made = method.sample(dataclasses.replace(_problem(3), artifact=artifact), 3)
        assert float((made - plain).abs().max()) > 1e-3
        denoise = moved(_problem(3).denoise, EDM(), artifact["asked"])
        expected = make_solver("ipndm").integrate(denoise, problem.x, grid_of(sigma.tolist(), EDM()), problem.noise)
        torch.testing.assert_close(made, expected)


def _problem(budget: int) -> object:
    return Stage.default().teacher(False, torch.float64).problem(0, [3, 4], Ledger(budget=budget))


def test_what_cannot_be_learned(task: Callable) -> None:
    with pytest.raises(Unsupported, match="not a linear function of its predictions"):
        LD3(solver="ddpm", **SMALL).fit(task(), 3)
    with pytest.raises(Unsupported, match="bench fit"):
        LD3().sample(_problem(3), 3)  # type: ignore[arg-type]


def test_contract_with_artifacts(task: Callable) -> None:
    @cache
    def artifact(method: Method, nfe: int) -> Mapping[str, Tensor]:
        return method.fit(task(), nfe)

    spec = "ld3[batches=1,batch=4,iterations=1,teacher_steps=10]"
    outcomes = run_checks(spec, Stage(Mixture(), artifact))
    assert not [outcome.message for outcome in outcomes if outcome.status == "failed"]
