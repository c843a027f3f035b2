"""What modes do, with recorders and compilers that need no device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

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


class FakeCompiler:
    """As ``torch.compile``; refuses as told."""

    def __init__(self, whole: str = "", pieces: str = "") -> None:
        self.problems = {True: whole, False: pieces}
        self.asked: list[dict[str, Any]] = []
        self.runs = 0

    def __call__(self, module: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        self.asked.append(options)

        def run(*args: Any, **kwargs: Any) -> Any:
            self.runs += 1
            if self.problems[options["fullgraph"]]:
                raise RuntimeError(self.problems[options["fullgraph"]])
            return module(*args, **kwargs)

        return run


STANCES: list[str] = []


@contextlib.contextmanager
def stance(name: str) -> Iterator[None]:
    STANCES.append(name)
    yield


def compiled(compiler: FakeCompiler, name: str = "compile") -> CompileMode:
    STANCES.clear()
    return CompileMode(name, HostClock(), compiler=compiler, stance=stance)


class Twice(nn.Module):
    def forward(self, x: Tensor, *, offset: float = 0.0) -> Tensor:
        return 2 * x + offset


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("compile", "default"),
        ("compile-reduce-overhead", "reduce-overhead"),
        ("compile-max-autotune", "max-autotune"),
    ],
)
def test_compiling_is_done_once_per_shape_and_apart(name: str, wanted: str) -> None:
    compiler = FakeCompiler()
    mode = compiled(compiler, name)
    network = mode.network(Twice())
    for rows in (2, 2, 3):
        assert torch.equal(network(torch.ones(rows), offset=1.0), torch.full((rows,), 3.0))
    assert compiler.asked == [{"mode": wanted, "fullgraph": True, "dynamic": False}] * 2
    assert len(mode.preparing) == 2 and compiler.runs == 2 * 3 + 3
    assert STANCES == ["fail_on_recompile"] * 3  # what is timed never compiles
    assert mode.fallback == ""


@pytest.mark.parametrize(
    ("compiler", "told"),
    [
        (
            FakeCompiler(whole="a break in line 3"),
            "compiled in pieces, with eager code between them: a break in line 3",
        ),
        (FakeCompiler(whole="no", pieces="no compiler here\ntrace"), "cannot be compiled: no compiler here"),
    ],
)
def test_a_network_that_is_not_compiled_whole_is_told_at_every_call(compiler: FakeCompiler, told: str) -> None:
    mode = compiled(compiler)
    network = mode.network(Twice())
    for _ in range(2):
        mode.reasons.clear()
        assert torch.equal(network(torch.ones(2)), torch.full((2,), 2.0))
        assert told in mode.fallback


def test_outputs_of_modes_with_graphs_are_copies() -> None:
    same = nn.Identity()
    x = torch.ones(2)
    assert compiled(FakeCompiler()).network(same)(x) is x
    assert compiled(FakeCompiler(), "compile-max-autotune").network(same)(x) is not x


class Wrapped:
    """A network with a module inside, as a pipeline's."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, x: Tensor) -> Tensor:
        found: Tensor = self.module(x)
        return found + 1


def test_the_module_inside_a_network_is_compiled_and_given_back() -> None:
    compiler = FakeCompiler()
    mode, module = compiled(compiler), Twice()
    network = mode.network(Wrapped(module))
    assert torch.equal(network(torch.ones(2)), torch.full((2,), 3.0))
    assert compiler.runs > 0 and mode.fallback == ""
    mode.close()
    assert "forward" not in vars(module)
    before = compiler.runs
    assert torch.equal(module(torch.ones(2)), torch.full((2,), 2.0)) and compiler.runs == before


def test_the_denoiser_of_a_pipeline_is_compiled() -> None:
    suite = create("suite", "tiny_t2i")
    network = suite.network(torch.device("cpu"), torch.float32)
    x, sigma, label = torch.randn(2, *suite.shape), torch.ones(2), torch.tensor([0, 1])
    compiler = FakeCompiler()
    mode = compiled(compiler)
    with torch.inference_mode():
        plain = network(x, sigma, label)
        assert compiler.runs == 0
        assert torch.equal(mode.network(network)(x, sigma, label), plain)
    assert compiler.runs > 0 and mode.fallback == ""
    mode.close()


def test_a_forward_that_somebody_had_replaced_is_put_back() -> None:
    module = Twice()
    replaced = module.forward = lambda x: x * 7  # as accelerate's hooks do
    mode = compiled(FakeCompiler())
    network = mode.network(Wrapped(module))
    assert torch.equal(network(torch.ones(1)), torch.full((1,), 8.0))
    mode.close()
    assert vars(module)["forward"] is replaced


def test_a_closed_form_is_not_compiled_and_that_is_told() -> None:
    mode = compiled(FakeCompiler())
    assert mode.network(half) is half
    assert "not a torch.nn.Module" in mode.fallback


def test_torch_compiles_a_real_network_and_a_second_compilation_is_an_error() -> None:
    def compiler(module: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        options.pop("mode")
        return torch.compile(module, backend="eager", **options)

    torch.compiler.reset()
    mode = CompileMode("compile", HostClock(), compiler=compiler)
    module = nn.Sequential(nn.Linear(3, 3), nn.SiLU())
    network = mode.network(module)
    with torch.inference_mode():
        for rows in (2, 4):
            x = torch.randn(rows, 3)
            torch.testing.assert_close(network(x), module(x))
        assert mode.fallback == ""
        network.known.add(((torch.Size([5, 3]), torch.float32),))  # type: ignore[attr-defined]  # not compiled for this
        with pytest.raises(RuntimeError, match="recompile"):
            network(torch.randn(5, 3))
    torch.compiler.reset()


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


def test_modes_have_names() -> None:
    clock = HostClock()
    assert type(make_mode("eager", clock)) is Mode
    assert type(make_mode("graph", clock)) is GraphMode
    assert type(make_mode("compile-max-autotune", clock)) is CompileMode
