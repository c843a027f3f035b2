"""The contract every method keeps, as checks that need no test framework: ``bench test NAME`` prints what they say.

A check is a function of a ``Subject``. It returns, or raises ``ContractViolation`` with one sentence that says what
failed, or ``NotApplicable`` with the reason. The checks themselves are in ``bench.contract_checks``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from bench import registry
from bench.api import Denoiser, Method, Problem, Unsupported
from bench.nfe import BudgetExceeded, Ledger
from bench.sampling import Teacher
from bench.spec import parse
from bench.suites.base import Suite
from bench.suites.mixture import Mixture

__all__ = ["Call", "Check", "ContractViolation", "NotApplicable", "Outcome", "Stage", "Subject", "run_checks"]

Artifacts = Callable[[Method, int], Mapping[str, Tensor]]


class ContractViolation(Exception):
    """What a method does that it must not, in one sentence."""


class NotApplicable(Exception):
    """Why a check says nothing about this method."""


def no_artifacts(method: Method, nfe: int) -> Mapping[str, Tensor]:
    """The artifacts of a suite that ships none."""
    return {}


@dataclass(frozen=True)
class Stage:
    """Where a method is tried.

    Attributes:
        suite: a suite; guidance is switched on through its ``guidance_scale`` if it has one.
        artifacts: ``(method, nfe) -> tensors``, empty where there are none.
    """

    suite: Suite
    artifacts: Artifacts = no_artifacts

    @classmethod
    def default(cls) -> Stage:
        """Closed form, no artifacts, milliseconds."""
        return cls(Mixture(preset="mixture-2d", guidance_scale=1.0))

    @cached_property
    def _teachers(self) -> dict[tuple[bool, torch.dtype], Teacher]:
        return {}

    def teacher(self, guided: bool, dtype: torch.dtype) -> Teacher:
        """The suite's teacher, loaded once; guided means two network evaluations per call."""
        if guided and "guidance_scale" not in type(self.suite).model_fields:
            raise NotApplicable("the suite has no guidance")
        if (guided, dtype) not in self._teachers:
            suite = self.suite.model_copy(update={"guidance_scale": 2.0}) if guided else self.suite
            self._teachers[guided, dtype] = Teacher.load(suite, dtype=dtype)
        return self._teachers[guided, dtype]


@dataclass(frozen=True)
class Call:
    """One call of a method, as a check asks for it."""

    nfe: int
    index: Sequence[int] = (0, 1, 2)
    guided: bool = False
    dtype: torch.dtype = torch.float32

    def __str__(self) -> str:
        guidance = ", guided" if self.guided else ""
        return f"nfe={self.nfe}{guidance}, {str(self.dtype).removeprefix('torch.')}, batch of {len(self.index)}"


@dataclass(frozen=True)
class Result:
    """What came of a call."""

    problem: Problem
    samples: Tensor
    ledger: Ledger
    levels: tuple[float, ...]


@dataclass(frozen=True)
class Subject:
    """The method under test and where it is tried."""

    name: str
    method: Method
    stage: Stage

    @property
    def needs_artifact(self) -> bool:
        """Whether some budget wants an artifact."""
        return any(self.method.artifact_name(nfe) for nfe in range(1, 13))

    def problem(self, call: Call, artifact: bool = True) -> tuple[Problem, Ledger, list[float]]:
        """A problem that counts (no budget) and notes the noise levels the denoiser is asked for."""
        ledger, levels = Ledger(budget=10 * call.nfe + 100), []
        found = self.stage.artifacts(self.method, call.nfe) if artifact else {}
        problem = self.stage.teacher(call.guided, call.dtype).problem(0, call.index, ledger, found)

        def noted(denoise: Denoiser) -> Denoiser:
            def call_denoiser(x: Tensor, sigma: float | Tensor) -> Tensor:
                levels.extend(torch.as_tensor(sigma).flatten().tolist())
                return denoise(x, sigma)

            return call_denoiser

        student = problem.student
        problem = replace(problem, denoise=noted(problem.denoise), student=lambda weights: noted(student(weights)))
        return problem, ledger, levels

    def sample(self, call: Call, artifact: bool = True) -> Result:
        """Run the method.

        Raises:
            Unsupported: as the method says.
            ContractViolation: it raised anything else.
        """
        problem, ledger, levels = self.problem(call, artifact)
        try:
            with torch.inference_mode():  # not around the teacher: what is loaded in it can never be differentiated
                samples = self.method.sample(problem, call.nfe)
        except Unsupported as error:
            if not str(error).strip():
                raise ContractViolation(f"Unsupported without a reason at {call}") from error
            raise
        except BudgetExceeded as error:
            raise ContractViolation(f"more than {ledger.budget} denoiser calls at {call}") from error
        except Exception as error:  # third-party code may raise anything
            raise ContractViolation(f"sample raised {type(error).__name__} at {call}: {error}") from error
        if not isinstance(samples, Tensor):
            raise ContractViolation(f"sample returned {type(samples).__name__}, not a tensor, at {call}")
        return Result(problem, samples, ledger, tuple(levels))

    def supported(self, wanted: int) -> int:
        """The first budget from ``wanted`` on that the method can use.

        Raises:
            NotApplicable: none of the next twelve.
        """
        for nfe in range(wanted, wanted + 12):
            try:
                self.sample(Call(nfe))
            except Unsupported as error:
                reason = str(error)
            else:
                return nfe
        raise NotApplicable(f"no budget from {wanted} to {wanted + 11} works here: {reason}")


@dataclass(frozen=True)
class Check:
    """One promise of the contract.

    Attributes:
        name: snake case, unique.
        why: what a user loses when the promise is broken.
        run: raises ``ContractViolation`` or ``NotApplicable``.
    """

    name: str
    why: str
    run: Callable[[Subject], None]


@dataclass(frozen=True)
class Outcome:
    """What a check found; ``message`` is the violation or the reason for skipping."""

    check: Check
    status: Literal["passed", "failed", "skipped"]
    message: str = ""


def run_check(check: Check, subject: Subject) -> Outcome:
    """Run one check; never raises."""
    try:
        check.run(subject)
    except NotApplicable as error:
        return Outcome(check, "skipped", str(error))
    except Unsupported as error:
        return Outcome(check, "failed", f"Unsupported where another call with the same budget worked: {error}")
    except ContractViolation as error:
        return Outcome(check, "failed", str(error))
    except Exception as error:  # third-party code may raise anything
        return Outcome(check, "failed", f"{type(error).__name__}: {error}")
    return Outcome(check, "passed")


def run_checks(spec: str, stage: Stage | None = None) -> list[Outcome]:
    """Run the whole contract on a registered method.

    Args:
        spec: ``name`` or ``name[key=value,...]``.
        stage: where it is tried; the closed-form mixture by default, where nothing is fitted.

    Raises:
        UsageError: an unknown name or parameter.
        InvalidEntry: the entry cannot be loaded.
    """
    from bench.contract_checks import CHECKS

    subject = Subject(parse(spec).name, registry.create("method", spec), stage or Stage.default())
    return [run_check(check, subject) for check in CHECKS]
