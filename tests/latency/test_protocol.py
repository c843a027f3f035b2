from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from bench.api import Denoiser, Method, Problem, Unsupported
from bench.cell import Cell
from bench.latency import hardware, protocol
from bench.latency.clock import Clock
from bench.latency.protocol import measure, protocol_id
from bench.latency.state import state
from bench.latency.subject import BatchNoise
from bench.latency.timing import Budget
from bench.nfe import Ledger
from bench.process import EDM
from bench.rng import SampleNoise
from bench.sampling import EMPTY, Teacher

QUICK = Budget(seconds=0.06, min_runs=3, max_runs=3, warm_up_seconds=0.04)


class VirtualClock(Clock[float]):
    """Time passes only where somebody lets it pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def idle(self) -> None:
        pass

    def mark(self) -> float:
        return self.now

    def seconds(self, start: float, end: float) -> float:
        return end - start


class FakeTeacher(Teacher):
    """A teacher without a suite, whose denoiser and student take stated times; ``wait`` says how they take them."""

    wait: ClassVar[Callable[[float], object]] = time.sleep
    inside: ClassVar[float] = 0.0
    loading: ClassVar[float] = 0.0
    built: ClassVar[int] = 0

    def problem(
        self, seed: int, index: Sequence[int], ledger: Ledger, artifact: Mapping[str, Tensor] = EMPTY
    ) -> Problem:
        def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
            FakeTeacher.wait(FakeTeacher.inside)
            return torch.zeros_like(x)

        def student(weights: Mapping[str, Tensor]) -> Denoiser:
            FakeTeacher.built += 1
            FakeTeacher.wait(FakeTeacher.loading)
            return denoise

        def solver(spec: str) -> None:
            raise Unsupported(spec)

        noise = SampleNoise(("fake", seed, "method"), index, (2,))
        x = torch.ones(len(index), 2)
        return Problem(denoise, x, noise, EDM(), 0.002, 80.0, artifact, student, solver)  # type: ignore[arg-type]


class Sleeper(Method):
    """Waits outside the denoiser, then calls it; dirties its input to show that every run gets a fresh one."""

    outside: float = 0.0
    distilled: bool = False
    bad: str = ""

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        if self.bad == "unsupported":
            raise Unsupported("only 3 evaluations")
        assert bool((problem.x == 1).all())
        FakeTeacher.wait(self.outside)
        denoise = problem.student({"w": problem.artifact["w"]}) if self.distilled else problem.denoise
        x0 = denoise(problem.x, 1.0)
        problem.x.add_(1)
        if self.bad == "shape":
            return x0[:1]
        return x0 + torch.inf if self.bad == "inf" else x0


@pytest.fixture
def teacher() -> FakeTeacher:
    FakeTeacher.wait, FakeTeacher.inside, FakeTeacher.loading, FakeTeacher.built = time.sleep, 0.0, 0.0, 0
    return FakeTeacher(None, None, torch.device("cpu"), torch.float32)  # type: ignore[arg-type]


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch, teacher: FakeTeacher) -> VirtualClock:
    clock = VirtualClock()
    monkeypatch.setattr(protocol, "clock_for", lambda device: clock)
    FakeTeacher.wait = clock.pass_time
    return clock


def test_a_known_delay_is_measured(teacher: FakeTeacher) -> None:
    true: list[float] = []

    def wait(seconds: float) -> None:
        start = time.time_ns()  # on a busy machine a sleep takes longer than it was asked to
        time.sleep(seconds)
        true.append((time.time_ns() - start) * 1e-9)

    FakeTeacher.wait, FakeTeacher.inside = wait, 0.0
    (latency,) = measure(teacher, Sleeper(outside=0.02), 1, {}, (4,), QUICK)
    steady = sorted(one + two for one, two in zip(true[::2], true[1::2], strict=True))
    assert steady[0] >= 0.02
    assert 0.98 * steady[0] <= latency.p50 <= 1.1 * steady[-1]
    assert latency.images_per_second == pytest.approx(4 / latency.p50)
    assert (latency.batch, latency.runs) == (4, 3)


@pytest.mark.parametrize("delay", [0.004, 0.04])
def test_a_virtual_delay_is_measured_exactly(delay: float, teacher: FakeTeacher, virtual: VirtualClock) -> None:
    FakeTeacher.inside = delay / 4
    (latency,) = measure(teacher, Sleeper(outside=delay), 1, {}, (2,), QUICK)
    assert (latency.cold, latency.p50) == pytest.approx((1.25 * delay, 1.25 * delay))
    assert latency.denoiser_share == pytest.approx(0.2)


def test_a_student_is_built_once_and_its_loading_is_not_sampling(teacher: FakeTeacher, virtual: VirtualClock) -> None:
    FakeTeacher.inside, FakeTeacher.loading = 0.01, 0.2
    (latency,) = measure(teacher, Sleeper(distilled=True), 1, {"w": torch.ones(1)}, (2,), QUICK)
    assert FakeTeacher.built == 1
    assert latency.cold == pytest.approx(0.01)
    assert latency.denoiser_share == pytest.approx(1.0)


def test_percentiles_need_their_runs(teacher: FakeTeacher) -> None:
    (few,) = measure(teacher, Sleeper(), 1, {}, (2,), Budget(min_runs=28, max_runs=28))
    (some,) = measure(teacher, Sleeper(), 1, {}, (2,), Budget(min_runs=40, max_runs=40))
    (many,) = measure(teacher, Sleeper(), 1, {}, (2,), Budget(min_runs=300, max_runs=300))
    assert few.p90 is None and few.p99 is None
    assert some.p90 is not None and some.p99 is None
    assert many.p90 is not None and many.p99 is not None
    assert many.p50 <= many.p90 <= many.p99
    assert many.p50_low is not None and many.p50_high is not None
    assert many.p50_low <= many.p50 <= many.p50_high


def test_batches_are_measured_in_order(teacher: FakeTeacher) -> None:
    assert [latency.batch for latency in measure(teacher, Sleeper(), 1, {}, (1, 8), QUICK)] == [1, 8]


def test_what_a_method_cannot_do_reaches_the_caller(teacher: FakeTeacher) -> None:
    with pytest.raises(Unsupported, match="only 3"):
        measure(teacher, Sleeper(bad="unsupported"), 1, {}, (2,), QUICK)
    with pytest.raises(ValueError, match="not finite"):
        measure(teacher, Sleeper(bad="inf"), 1, {}, (2,), QUICK)
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        measure(teacher, Sleeper(bad="shape"), 1, {}, (2,), QUICK)


class FakeClock(Clock[float]):
    """Every reading is one second after the last; waits for the device are counted."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits = 0

    def idle(self) -> None:
        self.waits += 1

    def mark(self) -> float:
        self.now += 1.0
        return self.now

    def seconds(self, start: float, end: float) -> float:
        return end - start


def test_every_timed_call_starts_on_an_idle_device(teacher: FakeTeacher, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr(protocol, "clock_for", lambda device: clock)
    (latency,) = measure(teacher, Sleeper(), 1, {}, (2,), Budget(max_runs=6, seconds=100, warm_up_seconds=100))
    assert latency.p50 == 1.0
    assert latency.settled is True
    assert latency.warm_up == 6  # two windows of three
    assert clock.waits == 1 + 6 + 6 + 3  # cold, warm-up, steady, share
    assert latency.denoiser_share == pytest.approx(1 / 3)  # marks: start, in, out, end


def test_noise_of_a_stochastic_method_is_one_draw_of_the_right_kind() -> None:
    noise = BatchNoise(torch.empty(5000, 2, dtype=torch.float64))
    first, second = noise.normal(), noise.normal()
    assert first.shape == (5000, 2) and first.dtype == torch.float64
    assert not torch.equal(first, second)
    assert abs(float(first.std()) - 1) < 0.03


def test_protocol_id_names_all_that_must_not_be_mixed() -> None:
    base = protocol_id("cpu", "float32", (1, 64), 2)
    assert base.startswith("latency-v1/cpu/float32/b=1,64/compile=off/hw=")
    others = [
        protocol_id("cpu", "bfloat16", (1, 64), 2),
        protocol_id("cpu", "float32", (1,), 2),
        protocol_id("cpu", "float32", (1, 64), 4),
    ]
    assert len({base, *others}) == 4
    cell = Cell(
        suite="digits", method="ddim", nfe=1, seed=0, samples=0, suite_revision="", method_revision="", metrics=(base,)
    )
    assert cell.is_latency


@pytest.fixture
def cuda() -> str:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return "cuda"


def test_cuda_events_measure_queued_work(cuda: str) -> None:
    from bench.latency.selfcheck import calibrate

    assert all(check.passed for check in calibrate(cuda)), calibrate(cuda)


def test_cuda_memory_is_the_allocators(cuda: str) -> None:
    from bench.latency.memory import peak_memory

    call: Callable[[], Tensor] = lambda: torch.empty(1 << 24, dtype=torch.uint8, device=cuda)  # noqa: E731
    assert peak_memory(call, torch.device(cuda)) == 1 << 24


def test_cuda_state_is_told(cuda: str) -> None:
    assert float(state(cuda)["gpu_sm_mhz"]) > 0
    assert hardware.fingerprint(cuda) != hardware.fingerprint("cpu")
