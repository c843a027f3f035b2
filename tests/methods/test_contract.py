"""Every registered method keeps the contract: adding a file adds its tests. And the contract notices when one does not.

The order of convergence and the references, which are two of the checks, are in ``test_order.py`` and in
``tests/parity`` with more settings.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench import registry
from bench.api import Denoiser, Grid, Method, Problem, Solver, Unsupported
from bench.contract import Check, Outcome, Stage, Subject, run_check
from bench.contract_checks import CHECKS
from bench.parity.base import Case, Setup, Unavailable
from bench.rng import SampleNoise

NAMES = sorted(registry.methods_of("all"))
# settings whose code differs from that of the defaults
SETTINGS = [
    "ddim[eta=1.0]",
    "ddim[afs=true]",
    "ddim[grid=karras[end=sigma_min]]",
    "ddpm[variance=large]",
    "ddpm[clip=1.5]",
    "heun[grid=karras[end=append]]",
    "heun[grid=karras[end=sigma_min]]",
    "ipndm[order=1]",
    "ipndm[afs=true]",
    "bespoke[base=rk1]",
    "deepcache[interval=3,center=1,power=2.0]",
    "faster_diffusion[injection=0.2]",
    "faster_diffusion[injection=0.2,until=0.2,solver=dpm_solver_pp]",
    "diversity_distillation[student=progressive,base_steps=2]",
    "distillation_pp[student=progressive,guided=2,depth=0.2]",
    "hand_over[student=reflow,threshold=0.0,teacher_steps=3]",
]

ELSEWHERE = ("order", "reference")


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage.default()


@pytest.mark.parametrize(
    "check", [check for check in CHECKS if check.name not in ELSEWHERE], ids=lambda check: check.name
)
@pytest.mark.parametrize("spec", [*NAMES, *SETTINGS])
def test_contract(spec: str, check: Check, stage: Stage) -> None:
    subject = Subject(registry.parse(spec).name, registry.create("method", spec), stage)
    outcome = run_check(check, subject)
    assert outcome.status != "failed", outcome.message


class Good(Solver):
    """Euler's method, for a break in one place at a time."""

    @property
    def declared_order(self) -> int | None:
        return 1

    def euler(self, denoise: Denoiser, x: Tensor, sigma_s: float, sigma_t: float) -> Tensor:
        return torch.lerp(denoise(x, sigma_s), x, sigma_t / sigma_s)

    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        for sigma_s, sigma_t in grid.steps():
            x = self.euler(denoise, x, sigma_s, sigma_t)
        return x


class ExtraCall(Good):
    def sample(self, problem: Problem, nfe: int) -> Tensor:
        return problem.denoise(super().sample(problem, nfe), 0.002)


class CallAtZero(Good):
    def sample(self, problem: Problem, nfe: int) -> Tensor:
        return problem.denoise(super().sample(problem, nfe), 0.0)


class NoReason(Good):
    def intervals(self, nfe: int) -> int:
        raise Unsupported("")


class NeverWorks(Good):
    def intervals(self, nfe: int) -> int:
        raise Unsupported("not today")


class Doubles(Good):
    def sample(self, problem: Problem, nfe: int) -> Tensor:
        return super().sample(problem, nfe).double()


class BatchMean(Good):
    def sample(self, problem: Problem, nfe: int) -> Tensor:
        out = super().sample(problem, nfe)
        return out - out.mean(0)


class SingleBatchMean(Good):
    def sample(self, problem: Problem, nfe: int) -> Tensor:
        out = super().sample(problem, nfe)
        return out - out.mean(0) if out.dtype == torch.float32 else out


class SharedBuffer(Good):
    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        shared.clear()  # so that calls one after the other are independent
        for sigma_s, sigma_t in grid.steps():
            shared.append(denoise(x, sigma_s))
            x = torch.lerp(sum(shared) / len(shared), x, sigma_t / sigma_s)
        return x


shared: list[Tensor] = []


class StopsShort(Good):
    def euler(self, denoise: Denoiser, x: Tensor, sigma_s: float, sigma_t: float) -> Tensor:
        return super().euler(denoise, x, sigma_s, max(sigma_t, 0.002))


class Denoises(Good):
    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        x = super().integrate(denoise, x, grid, noise)
        return denoise(x, grid.nodes[-1]) if grid.nodes[-1] > 0 else x


class InPlace(Good):
    def sample(self, problem: Problem, nfe: int) -> Tensor:
        problem.x.mul_(0.9)
        return super().sample(problem, nfe)


class GlobalNoise(Good):
    def sample(self, problem: Problem, nfe: int) -> Tensor:
        return super().sample(problem, nfe) + 0 * torch.randn(())


class Remembers(Good):
    def sample(self, problem: Problem, nfe: int) -> Tensor:
        seen.append(nfe)
        return super().sample(problem, nfe) + len(seen)


seen: list[int] = []


class OneIntervalFails(Good):
    def integrate(self, denoise: Denoiser, x: Tensor, grid: Grid, noise: SampleNoise) -> Tensor:
        return super().integrate(denoise, x, grid, noise) / (len(grid) - 2)


class WrongSlope(Good):
    @property
    def declared_order(self) -> int | None:
        return 2


class Inconsistent(Good):
    def euler(self, denoise: Denoiser, x: Tensor, sigma_s: float, sigma_t: float) -> Tensor:
        return 1.01 * super().euler(denoise, x, sigma_s, sigma_t)


class HalfPrecision(Good):
    def sample(self, problem: Problem, nfe: int) -> Tensor:
        out = super().sample(problem, nfe)
        return out if out.dtype == torch.float64 else (16 * out).round() / 16


class NoArtifactCheck(Good):
    def artifact_name(self, nfe: int) -> str:
        return f"nfe{nfe}"


class Raises(Good):
    def sample(self, problem: Problem, nfe: int) -> Tensor:
        raise ZeroDivisionError("in my code")


def outcome(method: Method, name: str, stage: Stage) -> Outcome:
    (check,) = [check for check in CHECKS if check.name == name]
    return run_check(check, Subject("good", method, stage))


def test_a_good_method_passes(stage: Stage) -> None:
    for check in CHECKS:
        if check.name not in ("info", "parameters"):  # this one is not a registered file
            found = run_check(check, Subject("good", Good(), stage))
            assert found.status in ("passed", "skipped"), found.message


@pytest.mark.parametrize(
    ("cls", "check", "says"),
    [
        (ExtraCall, "budget", "denoiser calls, not 1"),
        (CallAtZero, "levels", "sigma = [0.0]"),
        (NoReason, "budget", "without a reason"),
        (NeverWorks, "budget", "not today"),
        (Doubles, "budget", "float64, not torch.float32"),
        (BatchMean, "batch", "a batch of 1 and of 4, torch.float64"),
        (SingleBatchMean, "batch", "a batch of 1 and of 4, torch.float32"),
        (SharedBuffer, "interleaved", "another problem that is solved during evaluation"),
        (StopsShort, "one_step", "differs from the prediction D(x, 80)"),
        (Denoises, "stops", "have a standard deviation of"),
        (InPlace, "determinism", "in place"),
        (GlobalNoise, "determinism", "global generator"),
        (Remembers, "determinism", "different samples"),
        (OneIntervalFails, "grids", "not finite on the grid [80.0, 0.0]"),
        (WrongSlope, "order", "declares order 2, but the error falls with slope"),
        (Inconsistent, "gaussian", "does not fall"),
        (HalfPrecision, "precision", "float32 and float64 differ"),
        (NoArtifactCheck, "artifact", "without the artifact 'nfe1'"),
        (Raises, "budget", "ZeroDivisionError"),
    ],
)
def test_a_broken_promise_is_noticed(cls: Callable[[], Method], check: str, says: str, stage: Stage) -> None:
    found = outcome(cls(), check, stage)
    assert found.status == "failed"
    assert says in found.message


def test_guidance_is_two_evaluations(stage: Stage) -> None:
    assert outcome(Good(), "guidance", stage).status == "passed"
    assert outcome(ExtraCall(), "guidance", stage).status == "failed"


def test_info_must_be_registered(stage: Stage) -> None:
    assert "unknown method" in outcome(Good(), "info", stage).message


def test_a_reference_that_disagrees_is_noticed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """DDIM with fresh noise under the name of Euler's method."""

    def euler(setup: Setup) -> Tensor:
        return Good().integrate(setup.denoise, setup.x, setup.grid, setup.noise)

    def absent(setup: Setup) -> Tensor:
        raise Unavailable("azula is not installed")

    def against(solver: str, reference: Callable[[Setup], Tensor]) -> Outcome:
        case = Case(solver=solver, against="azula", what="EulerSampler", reference=reference)
        monkeypatch.setattr("bench.contract_solver_checks.modules", lambda: ["good"])
        monkeypatch.setattr("bench.contract_solver_checks.cases", lambda name: (case,))
        return outcome(Good(), "reference", stage)

    assert against("ddim", euler).status == "passed"
    found = against("ddim[eta=1.0]", euler)
    assert found.status == "failed"
    assert "ddim[eta=1.0] differs from EulerSampler of azula by" in found.message
    missing = against("ddim", absent)
    assert (missing.status, missing.message) == ("skipped", "azula is not installed")
