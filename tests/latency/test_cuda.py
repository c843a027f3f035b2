"""What only a CUDA device can show; skipped without one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bench.denoiser import Adapter
from bench.latency.capture import NotCapturable, cuda_capture
from bench.latency.clock import CudaClock
from bench.latency.identity import settings_for
from bench.latency.memory import peak_memory
from bench.latency.modes import COMPILED, CompileMode, GraphMode, ModeTeacher
from bench.latency.protocol import Contender, measure_group, meter_for
from bench.latency.timing import Budget
from bench.nfe import Ledger
from bench.process import EDM
from bench.registry import create
from bench.sampling import Teacher

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

CUDA = torch.device("cuda", 0)
BUDGET = Budget(seconds=0.1, min_runs=4, max_runs=30)


@pytest.fixture(scope="module")
def digits() -> Teacher:
    return Teacher.load(create("suite", "digits"), "cuda")


def matmuls(count: int) -> Callable[[], Tensor]:
    a = torch.randn(2048, 2048, device=CUDA)

    def call() -> Tensor:
        x = a
        for _ in range(count):
            x = torch.mm(x, a) * 1e-3
        return x

    return call


def test_events_agree_with_the_wall_clock_on_a_sequence_of_kernels() -> None:
    clock, call = CudaClock(CUDA), matmuls(200)
    clock.time(call)
    pairs = []
    for _ in range(7):
        torch.cuda.synchronize()
        start = time.perf_counter()
        measured = clock.time(call)
        pairs.append((measured, time.perf_counter() - start))
    measured, known = min(pairs, key=lambda pair: pair[1])
    assert measured == pytest.approx(known, rel=0.05)


def test_marks_of_stages_lie_inside_the_whole_and_scale_with_the_work() -> None:
    clock, short, long = CudaClock(CUDA), matmuls(50), matmuls(200)
    short(), long()
    clock.idle()
    marks = [clock.mark()]
    for call in (short, long):
        call()
        marks.append(clock.mark())
    first, second, whole = clock.seconds(*marks[:2]), clock.seconds(*marks[1:]), clock.seconds(marks[0], marks[2])
    assert first + second == pytest.approx(whole, rel=1e-3)
    assert second / first == pytest.approx(4, rel=0.3)


def test_what_is_beside_a_run_takes_no_time_of_it() -> None:
    clock, call = CudaClock(CUDA), matmuls(20)
    clock.time(call)
    plain = min(clock.time(call) for _ in range(5))
    beside = min(clock.time(call, lambda: time.sleep(0.05)) for _ in range(5))
    assert beside < plain + 0.01


@pytest.mark.parametrize("batch", [1, 16])
def test_a_replayed_graph_gives_the_eager_output_bit_for_bit(digits: Teacher, batch: int) -> None:
    clock = CudaClock(CUDA)
    mode = GraphMode("graph", clock)
    with torch.inference_mode():
        eager = digits.problem(0, range(batch), Ledger())
        graph = ModeTeacher.of(digits, mode).problem(0, range(batch), Ledger())
        x = eager.x
        outputs = []
        for sigma in (80.0, 7.0, 0.5):
            outputs.append((graph.denoise(x, sigma), eager.denoise(x, sigma)))
            x = outputs[-1][1] + 0.3 * eager.x / 80.0
        assert mode.fallback == ""
        for replayed, wanted in outputs:  # read at the end: no replay may have overwritten an earlier output
            assert torch.equal(replayed, wanted)


def test_a_denoiser_that_waits_for_the_device_is_not_captured_and_the_device_works_on() -> None:
    x = torch.ones(4, device=CUDA)
    with pytest.raises(NotCapturable):
        cuda_capture(lambda: x * float(x.sum()))
    assert float(torch.randn(4, device=CUDA).sum()) == pytest.approx(0, abs=20)
    replay, output = cuda_capture(lambda: x + 1)
    x.fill_(5)
    replay()
    assert output.tolist() == [6.0] * 4


def test_a_capture_that_breaks_leaves_nothing_behind() -> None:
    x = torch.ones(4, device=CUDA)

    def call() -> Tensor:
        if torch.cuda.is_current_stream_capturing():  # found by no call before
            torch.cuda.synchronize()
        return x + 1

    with pytest.raises(NotCapturable):
        cuda_capture(call)
    assert torch.isfinite(torch.randn(1000, device=CUDA)).all()  # from torch's own generator
    replay, output = cuda_capture(lambda: x * 2)
    x.fill_(5)
    replay()
    assert output.tolist() == [10.0] * 4


def test_what_a_graph_reads_is_held_while_others_allocate(digits: Teacher) -> None:
    mode = GraphMode("graph", CudaClock(CUDA))
    kept = {"rows": torch.full((1 << 20,), 3.0, device=CUDA)}
    denoise = mode.denoiser(lambda x, sigma: x + kept["rows"])
    x = torch.ones(1, 1 << 20, device=CUDA)
    assert denoise(x, 1.0).unique().tolist() == [4.0]
    kept.clear()
    others = [torch.zeros(1 << 20, device=CUDA) for _ in range(8)]
    assert denoise(x, 1.0).unique().tolist() == [4.0]
    assert len(others) == 8


def test_a_wait_in_a_denoiser_is_a_reason_and_not_an_error() -> None:
    def network(x: Tensor, t: Tensor) -> Tensor:
        return x / (1 + float(t[0]))

    denoise = Adapter(network, EDM(), "x0")
    mode = GraphMode("graph", CudaClock(CUDA))
    x = torch.randn(2, 3, device=CUDA)
    assert torch.equal(mode.denoiser(denoise)(x, 2.0), denoise(x, 2.0))
    assert "cannot be captured" in mode.fallback


@pytest.mark.slow
@pytest.mark.parametrize("name", list(COMPILED))
def test_compiled_networks_agree_and_keep_their_outputs(name: str) -> None:
    torch.compiler.reset()
    mode = CompileMode(name, CudaClock(CUDA))
    module = nn.Sequential(nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 64)).to(CUDA).eval()
    network = mode.network(module)
    with torch.inference_mode():
        inputs = [torch.randn(8, 64, device=CUDA) for _ in range(3)]
        outputs = [network(x) for x in inputs]
        for x, output in zip(inputs, outputs, strict=True):
            torch.testing.assert_close(output, module(x), rtol=2e-2, atol=2e-2)  # tuned kernels may use TF32
    assert mode.fallback == ""


def test_the_peak_of_a_known_allocation() -> None:
    def call() -> None:
        held = torch.empty(32 << 20, dtype=torch.uint8, device=CUDA)
        torch.empty(16 << 20, dtype=torch.uint8, device=CUDA)
        del held

    assert peak_memory(call, CUDA) == 48 << 20
    assert torch.cuda.max_memory_reserved(CUDA) >= 48 << 20


def test_the_device_tells_plausible_values() -> None:
    pytest.importorskip("pynvml")
    meter = meter_for(CUDA)
    assert meter is not None
    call = matmuls(2000)
    before = meter.read()
    call()
    during = meter.read()
    torch.cuda.synchronize()
    after = meter.read()
    assert before.at < during.at < after.at
    assert during.sm_mhz is None or 100 < during.sm_mhz < 5000
    assert during.watts is None or 5 < during.watts < 3000
    assert during.celsius is None or 5 < during.celsius < 120
    assert during.mask is None or 0 <= during.mask < 1 << 16
    if before.joules is not None and after.joules is not None:
        assert 0 <= after.joules - before.joules < 3000 * (after.at - before.at) + 100
    memory = meter.memory(os.getpid(), torch.cuda.memory_reserved(CUDA))
    total = torch.cuda.get_device_properties(CUDA).total_memory
    assert 0 < memory.get("nvml_process", 1) <= memory["nvml_device"] <= 1.05 * total


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_a_whole_measurement(digits: Teacher, mode: str) -> None:
    contenders = [Contender(create("method", name), 4, {}) for name in ("ddim", "dpm_solver_pp")]
    chosen = settings_for(digits.suite, "cuda", (1, 16), mode)
    runs = measure_group(digits, contenders, chosen, BUDGET, rounds=2)
    for run in runs:
        assert run.error is None, run.error
        for found in run.latency:
            assert (found.mode, found.fallback, found.rounds) == (mode, "", 2)
            assert set(found.stages) == {"denoiser", "solver"} and min(found.stages.values()) > 0
            assert sum(found.stages.values()) == pytest.approx(found.p50, rel=0.5)
            assert found.memory["reserved"] >= found.memory["allocated"] > 0
            assert len(found.samples["seconds"]) == found.runs
    assert ("compile" in runs[0].latency[0].cold_stages) == (mode == "graph")
