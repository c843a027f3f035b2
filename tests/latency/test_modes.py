"""What modes do, with recorders and compilers that need no device."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from bench.api import Method, Problem
from bench.latency.capture import Graphed, NotCapturable, fill, first_cause
from bench.latency.clock import HostClock
from bench.latency.identity import V2, Settings
from bench.latency.modes import CompileMode, GraphMode, Mode, ModeTeacher, make_mode
from bench.latency.protocol import Contender, measure_group
from bench.latency.timing import Budget
from bench.nfe import Ledger
from bench.registry import create
from bench.sampling import Teacher

QUICK = Budget(seconds=0.01, min_runs=2, max_runs=2, warm_up_seconds=0.01)


class Replayer:
    """Records like a CUDA graph: the same input and output addresses at every replay, nothing else is run."""

    def __init__(self, problem: str = "") -> None:
        self.problem = problem
        self.captures = 0
        self.replays = 0

    def __call__(self, call: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        self.captures += 1
        if self.problem:
            raise NotCapturable(self.problem)
        output = call()

        def replay() -> None:
            self.replays += 1
            output.copy_(call())

        return replay, output


def half(x: Tensor, sigma: float | Tensor) -> Tensor:
    level = torch.as_tensor(sigma, dtype=x.dtype).expand(x.shape[0])
    return x / (1 + level.view(-1, 1))


def graphed(capture: Replayer) -> tuple[Graphed, GraphMode]:
    mode = GraphMode("graph", HostClock(), capture=capture)
    made = mode.denoiser(half)
    assert isinstance(made, Graphed)
    return made, mode


def test_replays_give_what_the_denoiser_gives_and_outputs_stay() -> None:
    capture = Replayer()
    denoise, mode = graphed(capture)
    inputs = [(torch.randn(3, 2), sigma) for sigma in (80.0, torch.tensor(2.0), torch.tensor([1.0, 2.0, 3.0]), 0.5)]
    outputs = [denoise(x, sigma) for x, sigma in inputs]
    for (x, sigma), output in zip(inputs, outputs, strict=True):
        torch.testing.assert_close(output, half(x, sigma), rtol=1e-6, atol=0)
    assert (capture.captures, capture.replays) == (1, 4)
    assert len(mode.preparing) == 1 and mode.fallback == ""


def test_each_shape_has_its_own_graph() -> None:
    capture = Replayer()
    denoise, _ = graphed(capture)
    for x in (torch.ones(2, 2), torch.ones(3, 2), torch.ones(2, 2), torch.ones(2, 2, dtype=torch.float64)):
        assert torch.equal(denoise(x, 1.0), half(x, 1.0))
    assert capture.captures == 3


def test_the_input_is_not_written_to() -> None:
    denoise, _ = graphed(Replayer())
    first, second = torch.ones(2, 2), torch.full((2, 2), 5.0)
    denoise(first, 1.0)
    denoise(second, 1.0)
    assert torch.equal(first, torch.ones(2, 2)) and torch.equal(second, torch.full((2, 2), 5.0))


def test_what_cannot_be_captured_runs_eagerly_and_says_so_every_time() -> None:
    capture = Replayer(problem="it waits for the device")
    denoise, mode = graphed(capture)
    x = torch.ones(2, 2)
    assert torch.equal(denoise(x, 1.0), half(x, 1.0))
    assert "cannot be captured as a CUDA graph: it waits for the device" in mode.fallback
    mode.reasons.clear()
    denoise(x, 1.0)
    assert mode.fallback and capture.captures == 1


def test_what_a_denoiser_keeps_for_its_last_prompts_is_held_by_the_graph() -> None:
    kept = {"rows": torch.full((2, 2), 3.0)}
    mode = GraphMode("graph", HostClock(), capture=Replayer())
    denoise = mode.denoiser(lambda x, sigma: x + kept["rows"])
    assert isinstance(denoise, Graphed)
    denoise(torch.ones(2, 2), 1.0)
    (recorded,) = denoise.recorded.values()
    assert not isinstance(recorded, str)
    assert kept["rows"].untyped_storage().data_ptr() in recorded.held


@pytest.mark.parametrize("sigma", [2.5, torch.tensor(2.5), torch.tensor([2.5, 2.5]), torch.tensor([2.5])])
def test_noise_levels_are_written_in_double_precision(sigma: float | Tensor) -> None:
    level = torch.zeros(2, dtype=torch.float64)
    fill(level, sigma)
    assert level.tolist() == [2.5, 2.5]
    fill(level, 0.1)
    assert level.tolist() == [0.1, 0.1]


def test_the_first_cause_of_a_broken_capture_is_told() -> None:
    def broken() -> None:
        try:
            raise RuntimeError("cannot copy to pageable memory\nmore")
        finally:
            raise ValueError("the capture was invalidated")

    with pytest.raises(ValueError) as caught:
        broken()
    assert first_cause(caught.value) == "cannot copy to pageable memory"


class TwoCalls(Method):
    students: ClassVar[int] = 0

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        return problem.denoise(problem.denoise(problem.x, problem.sigma_max), 1.0)


class Reuses(Method):
    def sample(self, problem: Problem, nfe: int) -> Tensor:
        return problem.cached()(problem.x, problem.sigma_max)


@pytest.fixture(scope="module")
def digits() -> Teacher:
    return Teacher.load(create("suite", "digits"))


def test_a_teacher_in_a_mode_gives_the_same_samples(digits: Teacher) -> None:
    mode = GraphMode("graph", HostClock(), capture=Replayer())
    index = range(4)
    with torch.inference_mode():
        plain = digits.problem(0, index, Ledger())
        other = ModeTeacher.of(digits, mode).problem(0, index, Ledger())
        wanted, found = TwoCalls().sample(plain, 2), TwoCalls().sample(other, 2)
    assert torch.equal(found, wanted)


def test_methods_that_take_turns_share_a_graph_and_tell_their_own_reasons(
    digits: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = Replayer()
    monkeypatch.setattr("bench.latency.modes.cuda_capture", capture)
    monkeypatch.setattr("bench.latency.protocol.make_mode", lambda name, clock: GraphMode(name, clock, capture=capture))
    contenders = [Contender(method, 2, {}) for method in (TwoCalls(), Reuses(), TwoCalls())]
    runs = measure_group(digits, contenders, Settings((3,), "graph", V2), QUICK, rounds=2)
    first, second, third = (run.latency[0] for run in runs)
    assert capture.captures == 1
    assert [found.mode for found in (first, second, third)] == ["graph"] * 3
    assert [found.fallback for found in (first, third)] == ["", ""]
    assert "reuse features" in second.fallback
    assert first.cold_stages["compile"] > 0 and "compile" not in third.cold_stages
    assert 0 < first.stages["denoiser"] < first.p50 * 3


@pytest.mark.parametrize("name", ["graph", "compile-reduce-overhead"])
def test_what_a_mode_made_goes_with_its_batch_size(digits: Teacher, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """At once: memory that waits for the garbage collector would count in the next batch size, or be missing there."""
    made: list[weakref.ref[Mode]] = []

    def capture(call: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        return (lambda: None), call()  # a graph knows addresses, not the call

    def make(_: str, clock: HostClock) -> Mode:
        def compiler(module: Callable[..., Any], **_: Any) -> Callable[..., Any]:
            return module

        mode: Mode = GraphMode(name, clock, capture=capture)
        if name != "graph":
            mode = CompileMode(name, clock, compiler=compiler, stance=lambda _: contextlib.nullcontext())
        assert all(ref() is None for ref in made)
        made.append(weakref.ref(mode))
        return mode

    resets: list[int] = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: resets.append(len(made)))
    monkeypatch.setattr("bench.latency.protocol.make_mode", make)
    gc.disable()
    try:
        runs = measure_group(digits, [Contender(TwoCalls(), 2, {})], Settings((1, 2), name, V2), QUICK, rounds=1)
    finally:
        gc.enable()
    assert runs[0].error is None and len(made) == 2
    assert all(ref() is None for ref in made)
    assert resets == ([] if name == "graph" else [1, 2]), "the compiler's caches, with the memory of its graphs"


def test_modes_have_names() -> None:
    clock = HostClock()
    assert type(make_mode("eager", clock)) is Mode
    assert type(make_mode("graph", clock)) is GraphMode
    assert type(make_mode("compile-max-autotune", clock)) is CompileMode
