"""Protocol v2 on a clock on which time passes only where somebody lets it pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from bench.api import Denoiser, Method, Problem, Unsupported
from bench.latency import protocol, trial
from bench.latency.clock import Clock
from bench.latency.identity import V1, V2, Settings
from bench.latency.modes import GraphMode
from bench.latency.nvml import Meter, Reading
from bench.latency.protocol import Contender, Run, measure, measure_group
from bench.latency.subject import Subject
from bench.latency.timing import Budget
from bench.nfe import Ledger
from bench.process import EDM
from bench.reuse import CachedDenoiser
from bench.rng import SampleNoise
from bench.sampling import EMPTY, Teacher

QUICK = Budget(seconds=0.5, min_runs=6, max_runs=6, warm_up_seconds=0.04)


class VirtualClock(Clock[float]):
    def __init__(self) -> None:
        self.now = 100.0

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def idle(self) -> None:
        pass

    def mark(self) -> float:
        return self.now

    def seconds(self, start: float, end: float) -> float:
        return end - start


CLOCK = VirtualClock()


class Pipeline:
    """A suite with stages, of which nothing else is needed here."""

    def __init__(self, encode: float, decode: float) -> None:
        self.seconds = (encode, decode)
        self.encoded: list[tuple[int, ...]] = []
        self.decoded: list[tuple[int, ...]] = []

    def encode(self, index: Sequence[int]) -> None:
        CLOCK.pass_time(self.seconds[0])
        self.encoded.append(tuple(index))

    def decode(self, samples: Tensor) -> object:
        CLOCK.pass_time(self.seconds[1])
        self.decoded.append(tuple(samples.shape))
        return samples


class FakeTeacher(Teacher):
    """Its denoiser takes ``denoiser`` seconds per call, building a student ``loading``."""

    denoiser_seconds: ClassVar[float] = 0.01
    loading: ClassVar[float] = 0.0

    def problem(
        self, seed: int, index: Sequence[int], ledger: Ledger, artifact: Mapping[str, Tensor] = EMPTY
    ) -> Problem:
        def denoise(x: Tensor, sigma: float | Tensor, part: str = "full") -> Tensor:
            CLOCK.pass_time(self.denoiser_seconds)
            return torch.zeros_like(x)

        def student(weights: Mapping[str, Tensor]) -> Denoiser:
            CLOCK.pass_time(self.loading)
            return denoise

        def cached() -> CachedDenoiser:
            return denoise

        noise = SampleNoise(("fake", seed, "method"), index, (2,))
        x = torch.ones(len(index), 2)
        return Problem(denoise, x, noise, EDM(), 0.002, 80.0, artifact, student, None, cached=cached)  # type: ignore[arg-type]


STARTED: list[tuple[str, float]] = []


class Fake(Method):
    """Calls the denoiser ``nfe`` times, spends time of its own, and may drift or fail."""

    name: str = "a"
    own: float = 0.0
    reuse: bool = False
    distilled: bool = False
    fails_at: int = 0

    def sample(self, problem: Problem, nfe: int) -> Tensor:
        STARTED.append((self.name, CLOCK.now))
        if self.fails_at and sum(name == self.name for name, _ in STARTED) >= self.fails_at:
            raise RuntimeError("CUDA out of memory, so to speak")
        CLOCK.pass_time(self.own)
        denoise: Any = problem.cached() if self.reuse else problem.denoise
        if self.distilled:
            denoise = problem.student({"w": problem.artifact["w"]})
        x = problem.x
        for _ in range(nfe):
            x = denoise(x, 1.0)
        return x


class Unable(Method):
    def sample(self, problem: Problem, nfe: int) -> Tensor:
        raise Unsupported("only 3 evaluations")


@pytest.fixture(autouse=True)
def virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    STARTED.clear()
    monkeypatch.setattr(protocol, "clock_for", lambda device: CLOCK)
    monkeypatch.setattr(FakeTeacher, "loading", 0.0)


def teacher(suite: object = None) -> FakeTeacher:
    return FakeTeacher(suite, None, torch.device("cpu"), torch.float32)  # type: ignore[arg-type]


def group(
    methods: Sequence[Method], suite: object = None, rounds: int = 3, batches: tuple[int, ...] = (2,), nfe: int = 2
) -> list[Run]:
    contenders = [Contender(method, nfe, {}) for method in methods]
    return measure_group(teacher(suite), contenders, Settings(batches, "eager", V2), QUICK, rounds)


def test_known_durations_give_the_known_split() -> None:
    pipeline = Pipeline(encode=0.03, decode=0.05)
    (run,) = group([Fake(own=0.004)], pipeline)
    (found,) = run.latency
    assert found.stages == pytest.approx({"text_encoder": 0.03, "denoiser": 0.02, "solver": 0.004, "decoder": 0.05})
    assert found.p50 == found.cold == pytest.approx(0.104)
    assert found.cold_stages == pytest.approx(found.stages)
    assert found.denoiser_share == pytest.approx(0.02 / 0.104)
    assert (found.mode, found.fallback, found.rounds, found.runs) == ("eager", "", 3, 6)
    assert set(pipeline.encoded) == {(0, 1)} and set(pipeline.decoded) == {(2, 2)}
    assert found.memory == {} and found.power_watts is None and found.throttled == {}


def test_a_plain_suite_has_a_denoiser_and_a_solver() -> None:
    (run,) = group([Fake(own=0.01)])
    assert run.latency[0].stages == pytest.approx({"denoiser": 0.02, "solver": 0.01})


def test_calls_that_reuse_features_are_the_denoisers() -> None:
    (run,) = group([Fake(own=0.01, reuse=True)])
    assert run.latency[0].stages == pytest.approx({"denoiser": 0.02, "solver": 0.01})


def test_a_student_is_loaded_apart_from_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeTeacher, "loading", 0.7)
    contender = Contender(Fake(own=0.01, distilled=True), 2, {"w": torch.ones(1)})
    (run,) = measure_group(teacher(), [contender], Settings((2,), "eager", V2), QUICK)
    found = run.latency[0]
    assert found.cold == pytest.approx(0.03)
    assert found.cold_stages == pytest.approx({"denoiser": 0.02, "solver": 0.01, "load_student": 0.7})


def test_what_a_mode_does_once_is_apart_from_the_first_call() -> None:
    def capture(call: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        CLOCK.pass_time(3.0)
        return (lambda: CLOCK.pass_time(0.001)), call()

    mode = GraphMode("graph", CLOCK, capture=capture)
    problem = teacher().problem(0, range(2), Ledger())
    problem = dataclasses.replace(problem, denoise=mode.denoiser(problem.denoise))
    subject = Subject(Fake(own=0.004), 2, problem, CLOCK, detailed=True, preparing=mode.preparing)
    assert subject.cold() == pytest.approx(0.006)
    # capturing: a first call, one that shows what is read, and the captured one, 10 ms each, and what the device takes
    assert subject.first == pytest.approx({"denoiser": 0.002, "solver": 0.004, "compile": 3.03})
    assert subject.run() == pytest.approx(0.006)


def test_methods_take_turns() -> None:
    runs = group([Fake(name=name) for name in "abc"])
    order = [name for i, (name, _) in enumerate(STARTED) if i == 0 or STARTED[i - 1][0] != name]
    assert order == list("abc") * 4  # begin, three rounds; the last one ends with the measurement of memory
    per_turn = 1 + 2 + 1  # not counted, timed, split
    begun = sum(name == "a" for name, _ in STARTED) - 3 * per_turn - 1
    assert begun == 1 + (run := runs[0]).latency[0].warm_up  # type: ignore[operator]
    assert run.latency[0].samples["round"] == (0, 0, 1, 1, 2, 2)


def test_drift_meets_all_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    start = CLOCK.now
    # a device that gets slower and slower: one percent per second
    slower = property(lambda self: 0.1 * (1 + 0.01 * (CLOCK.now - start)))
    monkeypatch.setattr(FakeTeacher, "denoiser_seconds", slower)
    budget = Budget(seconds=100.0, min_runs=24, max_runs=24, warm_up_seconds=0.04)
    contenders = [Contender(Fake(name=name), 2, {}) for name in "ab"]

    def apart(rounds: int) -> float:
        first, second = measure_group(teacher(), contenders, Settings((2,), "eager", V2), budget, rounds)
        return second.latency[0].p50 / first.latency[0].p50 - 1

    assert apart(12) < apart(1) / 3


def test_an_error_ends_its_own_run_only_and_keeps_what_was_measured() -> None:
    calls = 1 + 2 + 3 * 4 + 1  # of a batch size: cold, warm-up, turns, memory
    broken = Fake(name="b", fails_at=calls + 3)
    good, bad, unable = group([Fake(name="a"), broken, Unable()], batches=(2, 4))
    assert [found.batch for found in good.latency] == [2, 4]
    assert [found.batch for found in bad.latency] == [2]
    assert isinstance(bad.error, RuntimeError) and bad.batch == 4
    assert isinstance(unable.error, Unsupported) and unable.latency == ()
    assert good.error is None


class FakeMeter(Meter):
    """1 Watt-second per millisecond; hot from the given moment on."""

    def __init__(self, hot_from: float = float("inf")) -> None:
        self.hot_from = hot_from
        self.readings = 0

    def read(self) -> Reading:
        self.readings += 1
        CLOCK.pass_time(0.001)  # asking takes time as well, which must not be in a sample
        mask = 0x40 if CLOCK.now >= self.hot_from else 0x0
        return Reading(CLOCK.now, sm_mhz=1500, watts=1000.0, celsius=50, mask=mask, joules=CLOCK.now * 1000)


def test_readings_stand_beside_every_run_and_take_no_time_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = FakeMeter(hot_from=CLOCK.now)
    monkeypatch.setattr(protocol, "meter_for", lambda device: meter)
    found = group([Fake()])[0].latency[0]
    assert found.p50 == pytest.approx(0.02)
    assert meter.readings == found.runs + 2 * 3  # two more per turn
    assert {len(column) for column in found.samples.values()} == {found.runs}
    assert set(found.samples) == {"seconds", "round", "sm_mhz", "watts", "celsius", "mask"}
    assert found.throttled == {"any": 6, "thermal_hardware": 6}
    assert found.power_watts == pytest.approx(1000)
    # a turn: two runs of 20 ms, and three readings of 1 ms after the first
    assert found.energy_joules == pytest.approx(1000 * (2 * 0.02 + 3 * 0.001) / 2)
    assert float(found.clocks["timed_share"]) == pytest.approx(0.04 / 0.043)


def test_only_the_first_cell_of_a_process_knows_when_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    born = CLOCK.now - 5
    monkeypatch.setattr(trial, "process_age", lambda: CLOCK.now - born)
    contenders = [Contender(Fake(name=name), 2, {}) for name in "ab"]
    first, second = measure_group(teacher(), contenders, Settings((2, 4), "eager", V2), QUICK, loaded=2.0)
    assert first.latency[0].cold_stages == pytest.approx({"denoiser": 0.02, "solver": 0, "load": 2, "process": 3})
    assert "process" not in first.latency[1].cold_stages
    assert "process" not in second.latency[0].cold_stages


def test_protocol_v1_has_no_turns_and_none_of_the_new_fields() -> None:
    contenders = [Contender(Fake(name=name), 2, {}) for name in "ab"]
    runs = measure_group(teacher(), contenders, Settings((2,), "eager", V1), QUICK, rounds=7)
    order = [name for i, (name, _) in enumerate(STARTED) if i == 0 or STARTED[i - 1][0] != name]
    assert order == ["a", "b"]
    found = runs[0].latency[0]
    assert found.model_dump(exclude_defaults=True).keys() <= {
        *("batch", "runs", "cold", "warm_up", "settled", "p50", "p50_low", "p50_high", "images_per_second"),
        *("denoiser_share", "peak_memory_bytes", "clocks"),
    }


def test_measure_takes_the_protocol_of_the_suite() -> None:
    (plain,) = measure(teacher(), Fake(), 2, {}, (2,), QUICK)
    (staged,) = measure(teacher(Pipeline(0.1, 0.1)), Fake(), 2, {}, (2,), QUICK)
    assert plain.stages == {} and plain.rounds is None
    assert set(staged.stages) == {"text_encoder", "denoiser", "solver", "decoder"} and staged.rounds == 1


def test_process_age_is_that_of_the_system() -> None:
    import subprocess
    import sys

    code = "import time; time.sleep(0.3); from bench.latency.trial import process_age; print(process_age())"
    import time

    start = time.monotonic()
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    if answer == "None":
        pytest.skip("this system does not tell")
    assert 0.3 <= float(answer) <= time.monotonic() - start + 0.05  # a tick is 10 ms
