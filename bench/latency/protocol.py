"""Latency protocol v1.

::

    load | cold | warm-up ... settled | steady x R | denoiser's share x 3 | memory x 1
         |<------------ timed: Method.sample from prepared noise to samples, device idle before and after ------------>|

* The timed region is ``Method.sample``: from initial noise on the device to samples on the device. Drawing the initial
  noise, loading weights (a student's too), quantising and scoring are outside. What a method computes anew for each
  batch (coefficients, grids) is inside.
* Noise that a stochastic method draws on the way is inside; it comes from one generator on the device, because the
  price of a generator per sample is the harness's and not the method's.
* ``cold`` is the first call at a batch size after loading; the process may have run other batch sizes and methods
  before, and only the very first pays for the lazy start of libraries.
* Warm-up ends when the medians of the last 3 and of the 3 calls before agree within 5 %, or after 0.15 s.
* Steady: 0.3 s and at least 6 runs, or 1.2 s. Quantiles and their rules: ``bench.latency.timing``.
* CUDA: events on the stream; CPU: ``perf_counter_ns``. Compilation is off.
* State of clocks before and after, as far as the machine tells: ``bench.latency.state``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bench.api import Method
from bench.latency import hardware
from bench.latency.clock import clock_for
from bench.latency.memory import peak_memory
from bench.latency.state import compare, state
from bench.latency.subject import BatchNoise, Subject
from bench.latency.timing import Budget, median_interval, quantile, steady, supported, warm_up
from bench.nfe import Ledger
from bench.record import Latency
from bench.sampling import Teacher

VERSION = "latency-v1"
BATCHES = (1, 64)
DEFAULT = Budget()


def protocol_id(device: str, dtype: str, batches: Sequence[int] = BATCHES, num_threads: int | None = None) -> str:
    """The id of a latency cell; numbers under different ids are never merged or ranked together.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
        dtype: of the network, such as ``"float32"``.
        batches: batch sizes.
        num_threads: threads of the process that will measure; this process's if not given.
    """
    sizes = ",".join(map(str, batches))
    return f"{VERSION}/{device}/{dtype}/b={sizes}/compile=off/hw={hardware.fingerprint(device, num_threads)}"


def _measure_batch(subject: Subject, device: torch.device, budget: Budget) -> Latency:
    batch = subject.problem.x.shape[0]
    before = state(str(device))
    cold = subject.cold()
    calls, is_settled = warm_up(subject.run, budget)
    durations = steady(subject.run, budget)
    after = state(str(device))
    p50 = quantile(durations, 0.5)
    low, high = median_interval(durations) or (None, None)
    return Latency(
        batch=batch,
        runs=len(durations),
        cold=cold,
        warm_up=calls,
        settled=is_settled,
        p50=p50,
        p50_low=low,
        p50_high=high,
        p90=quantile(durations, 0.9) if supported(0.9, len(durations)) else None,
        p99=quantile(durations, 0.99) if supported(0.99, len(durations)) else None,
        images_per_second=batch / p50,
        denoiser_share=subject.share(budget.share_runs, budget.seconds),
        peak_memory_bytes=peak_memory(subject.prepare(), device),
        clocks={"threads": hardware.threads(), **compare(before, after)},
    )


@torch.inference_mode()
def measure(
    teacher: Teacher,
    method: Method,
    nfe: int,
    artifact: Mapping[str, Tensor],
    batches: Sequence[int] = BATCHES,
    budget: Budget = DEFAULT,
) -> tuple[Latency, ...]:
    """Latency of a method at a budget, one measurement per batch size.

    Raises:
        Unsupported: the method cannot do this budget.
        ValueError: its samples have another shape, or are not finite.
    """
    results = []
    for batch in batches:
        problem = teacher.problem(0, range(batch), Ledger(), artifact)
        problem = dataclasses.replace(problem, noise=BatchNoise(problem.x))
        subject = Subject(method, nfe, problem, clock_for(teacher.device))
        results.append(_measure_batch(subject, teacher.device, budget))
    return tuple(results)
