"""Released students under protocol v2, on a clock on which time passes only where somebody lets it pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.api import Method, Problem
from bench.latency import protocol
from bench.latency.clock import Clock
from bench.latency.identity import V2, Settings
from bench.latency.modes import CompileMode, GraphMode, Mode
from bench.latency.protocol import Contender, Run, measure_group
from bench.latency.timing import Budget
from bench.nfe import Ledger
from bench.process import EDM
from bench.registry import create
from bench.released.method import ReleasedProblem, Student
from bench.sampling import EMPTY, Teacher

QUICK = Budget(seconds=0.5, min_runs=4, max_runs=4, warm_up_seconds=0.04)
LOADING, DENOISER, OWN = 7.0, 0.01, 0.002


class VirtualClock(Clock[float]):
    now = 0.0

    def idle(self) -> None:
        pass

    def mark(self) -> float:
        return self.now

    def seconds(self, start: float, end: float) -> float:
        return end - start


CLOCK = VirtualClock()


class OneShelf(Teacher):
    """Loads one student at a time, which takes a while, as the teacher of a pipeline does."""

    shelf: list[Any] = []  # noqa: RUF012 - shared on purpose
    loads: list[Any] = []  # noqa: RUF012

    def problem(
        self, seed: int, index: Sequence[int], ledger: Ledger, artifact: Mapping[str, Tensor] = EMPTY
    ) -> Problem:
        def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
            CLOCK.now += DENOISER
            return torch.zeros_like(x)

        def load(card: Any, nfe: int, scale: float | None) -> Student:
            if self.shelf != [card]:
                CLOCK.now += LOADING
                self.shelf[:] = [card]
                self.loads.append(card)
            return Student(denoise, EDM())

        plain = super().problem(seed, index, ledger, artifact)
        given = {each.name: getattr(plain, each.name) for each in dataclasses.fields(plain)}
        return ReleasedProblem(**given, checkpoint=load)


class Prescribed(Method):
    """Runs a released student, as ``bench.released.method.Released`` does."""

    card: str

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        assert isinstance(problem, ReleasedProblem)
        CLOCK.now += OWN
        student = problem.checkpoint(self.card, nfe, None)  # type: ignore[arg-type]
        x = problem.x
        for _ in range(nfe):
            x = student.denoise(x, 1.0)
        return x


@pytest.fixture(autouse=True)
def virtual(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(protocol, "clock_for", lambda device: CLOCK)
    yield
    OneShelf.shelf.clear()
    OneShelf.loads.clear()


def measured(*cards: str, mode: str = "eager") -> list[Run]:
    teacher = OneShelf.load(create("suite", "mixture"))
    contenders = [Contender(Prescribed(card=card), 2, {}) for card in cards]
    return measure_group(teacher, contenders, Settings((3,), mode, V2), QUICK, rounds=2)


def test_loading_is_apart_and_the_students_calls_are_the_denoisers() -> None:
    (run,) = measured("a")
    assert run.error is None, run.error
    (found,) = run.latency
    assert found.cold == found.p50 == pytest.approx(2 * DENOISER + OWN)
    assert found.cold_stages == pytest.approx({"denoiser": 2 * DENOISER, "solver": OWN, "load_student": LOADING})
    assert found.stages == pytest.approx({"denoiser": 2 * DENOISER, "solver": OWN})
    assert OneShelf.loads == ["a"]


def test_students_that_take_turns_are_loaded_between_turns_and_not_in_a_sample() -> None:
    runs = measured("a", "b")
    for run in runs:
        assert run.error is None, run.error
        assert run.latency[0].samples["seconds"] == (pytest.approx(2 * DENOISER + OWN),) * 4
    assert OneShelf.loads == list("ab") * 3, "begin and two turns; memory is measured in the last turn"


def make_with(kind: str) -> Callable[[str, Clock[float]], Mode]:
    def capture(call: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        return (lambda: None), call()

    def make(name: str, clock: Clock[float]) -> Mode:
        return GraphMode(name, clock, capture=capture) if kind == "graph" else CompileMode(name, clock)

    return make


@pytest.mark.parametrize("mode", ["graph", "compile"])
def test_a_mode_has_released_students_too_or_says_that_they_run_eagerly(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(protocol, "make_mode", make_with(mode))
    (run,) = measured("a", mode=mode)
    assert run.error is None, run.error
    (found,) = run.latency
    told = "released students are not compiled and run eagerly"
    assert (told in found.fallback) == (mode == "compile")
    assert found.stages["denoiser"] == pytest.approx(0 if mode == "graph" else 2 * DENOISER)  # a replay is for nothing
    assert ("compile" in found.cold_stages) == (mode == "graph")
