"""Latency protocols v1 and v2: what is timed, and when.

Both::

    load | cold | warm-up ... settled | steady x R | denoiser's share | memory x 1
         |<------------ timed: Method.sample from prepared noise to samples, device idle before and after ------------>|

* The timed region is ``Method.sample``: from initial noise on the device to samples on the device. Drawing the initial
  noise, loading weights (a student's too), quantising and scoring are outside. What a method computes anew for each
  batch (coefficients, grids) is inside.
* Noise that a stochastic method draws on the way is inside; it comes from one generator on the device, because the
  price of a generator per sample is the harness's and not the method's.
* ``cold`` is the first call at a batch size after loading; the process may have run other batch sizes and methods
  before, and only the very first pays for the lazy start of libraries.
* Warm-up ends when the medians of the last 3 and of the 3 calls before agree within 5 %, or when its time is up.
* Quantiles and their rules: ``bench.latency.timing``. CUDA: events on the stream; CPU: ``perf_counter_ns``.
* State of clocks before and after, as far as the machine tells: ``bench.latency.state``.

v1 (on the CPU, suites without stages): compilation is off; one method after the other; warm-up 0.15 s at most; steady
0.3 s and at least 6 runs, or 1.2 s; the denoiser's share from 3 further runs.

v2 (on CUDA, and suites with stages): as v1, and

* a suite with stages (``bench.latency.stages.Staged``) is timed whole: text encoder, ``Method.sample``, decoder;
* modes of the denoiser: ``bench.latency.modes``; what is done once for a mode is apart, in ``cold_stages``;
* methods take turns, A B C, A B C ..., so that drift meets all alike; each turn starts with a run that is not counted;
* stages are medians over one further run per turn, whose marks disturb the others not;
* the device is asked for clocks, power, energy, temperature and throttling beside every run, after its last mark is
  queued and mostly before the device gets there, so under load and outside what is timed: ``bench.latency.nvml``. Runs
  while clocks were held down are counted and stay in;
* on CUDA, warm-up 0.5 s at most, steady 1.5 s.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from bench.api import Method
from bench.latency.clock import Clock, clock_for
from bench.latency.identity import BATCHES, V1, V2, Settings, protocol_id, settings, settings_for
from bench.latency.modes import EAGER, Mode, ModeTeacher, make_mode
from bench.latency.nvml import Meter, open_meter
from bench.latency.stages import Staged
from bench.latency.subject import BatchNoise, Subject
from bench.latency.timing import Budget
from bench.latency.trial import Contender, Trial
from bench.nfe import Ledger
from bench.record import Latency
from bench.sampling import Teacher

__all__ = ["BATCHES", "DEFAULT", "Contender", "Run", "measure", "measure_cell", "measure_group", "protocol_id"]

DEFAULT = Budget()
DEFAULT_V2 = Budget(max_runs=600)
DEFAULT_CUDA = Budget(warm_up_seconds=0.5, seconds=1.5, max_runs=600)
ROUNDS = 3


def default_budget(version: str, device: torch.device) -> Budget:
    """How long a batch size is timed unless the user says otherwise."""
    if version != V2:
        return DEFAULT
    return DEFAULT_CUDA if device.type == "cuda" else DEFAULT_V2


@dataclass
class Run:
    """What became of one contender.

    Attributes:
        latency: one per batch size that was measured.
        error: why there is no more; None if all batch sizes were measured.
        batch: the batch size at which the error came.
    """

    contender: Contender
    latency: tuple[Latency, ...] = ()
    error: Exception | None = None
    batch: int = 0


@cache
def meter_for(device: torch.device) -> Meter | None:
    """How a device is asked; None where it cannot be."""
    if device.type != "cuda":
        return None
    return open_meter(str(torch.cuda.get_device_properties(device).uuid))


@dataclass
class Group:
    """Contenders that take turns at one batch size.

    Attributes:
        chosen: protocol, mode.
        budget: of each contender.
        rounds: how many turns each has.
        loaded: seconds that loading the teacher took, if nothing has been measured in this process, else None.
    """

    teacher: Teacher
    chosen: Settings
    budget: Budget
    rounds: int = 1
    loaded: float | None = None

    @torch.inference_mode()
    def measure(self, runs: Sequence[Run], batch: int) -> None:
        """Measure a batch size; an error ends its own run only, and stands in it."""
        clock = clock_for(self.teacher.device)
        mode = make_mode(self.chosen.mode, clock) if self.chosen.version != V1 else None
        active = [(run, self._steps(run, batch, clock, mode)) for run in runs if run.error is None]
        try:
            while active:
                active = [(run, steps) for run, steps in active if _advance(run, steps, batch)]
        finally:
            if mode is not None:
                mode.close()

    def _steps(self, run: Run, batch: int, clock: Clock[Any], mode: Mode | None) -> Iterator[None]:
        trial = self._trial(run.contender, batch, clock, mode)
        trial.begin()
        self.loaded = None
        for number in range(self.rounds):
            trial.subject.release()
            yield
            trial.turn(number)
        run.latency += (trial.finish(),)

    def _trial(self, contender: Contender, batch: int, clock: Clock[Any], mode: Mode | None) -> Trial:
        teacher, index = self.teacher, range(batch)
        if mode is not None and mode.name != EAGER:
            mode.reasons.clear()
            teacher = ModeTeacher.of(teacher, mode)
        problem = teacher.problem(0, index, Ledger(), contender.artifact)
        problem = dataclasses.replace(problem, noise=BatchNoise(problem.x))
        subject = Subject(contender.method, contender.nfe, problem, clock)
        suite = teacher.suite
        if mode is not None:
            subject.detailed, subject.preparing = True, mode.preparing
        if mode is not None and isinstance(suite, Staged):
            subject.encode, subject.decode = (lambda: suite.encode(index)), suite.decode
        return Trial(subject, teacher.device, self.budget, mode, meter_for(teacher.device), self.rounds, self.loaded)


def _advance(run: Run, steps: Iterator[None], batch: int) -> bool:
    """One step of one run; whether there is another."""
    try:
        next(steps)
    except StopIteration:
        return False
    except Exception as error:  # a method may raise anything
        traceback.clear_frames(error.__traceback__)  # they would keep what lies on the device
        run.error, run.batch = error, batch
        return False
    return True


def measure_group(
    teacher: Teacher,
    contenders: Sequence[Contender],
    chosen: Settings,
    budget: Budget | None = None,
    rounds: int = ROUNDS,
    loaded: float | None = None,
) -> list[Run]:
    """Latency of several methods that take turns; under protocol v1, one after the other.

    Args:
        teacher: loaded once for all.
        contenders: what is measured.
        chosen: protocol, batch sizes, mode.
        budget: of each contender and batch size; the protocol's own if None.
        rounds: how many turns each has under protocol v2.
        loaded: seconds that loading the teacher took, if nothing has been measured in this process, else None.

    Returns:
        one run per contender, in order; none raises.
    """
    runs = [Run(contender) for contender in contenders]
    spend = budget or default_budget(chosen.version, teacher.device)
    turns = chosen.version != V1
    group = Group(teacher, chosen, spend, rounds if turns else 1, loaded)
    for some in [runs] if turns else [[run] for run in runs]:
        for batch in chosen.batches:
            group.measure(some, batch)
            if teacher.device.type == "cuda":
                torch.cuda.empty_cache()
    return runs


def _single(teacher: Teacher, contender: Contender, chosen: Settings, budget: Budget | None) -> tuple[Latency, ...]:
    (run,) = measure_group(teacher, [contender], chosen, budget, rounds=1)
    if run.error is not None:
        raise run.error
    return run.latency


def measure_cell(identifier: str, teacher: Teacher, contender: Contender) -> tuple[Latency, ...]:
    """Latency of one method as an id asks for, one measurement per batch size.

    Raises:
        Unsupported: the method cannot do this budget.
        ValueError: its samples have another shape, or are not finite.
    """
    return _single(teacher, contender, settings(identifier), None)


def measure(
    teacher: Teacher,
    method: Method,
    nfe: int,
    artifact: Mapping[str, Tensor],
    batches: Sequence[int] | None = None,
    budget: Budget | None = None,
) -> tuple[Latency, ...]:
    """Latency of one method at a budget, eagerly, one measurement per batch size.

    Raises:
        Unsupported: the method cannot do this budget.
        ValueError: its samples have another shape, or are not finite.
    """
    chosen = settings_for(teacher.suite, teacher.device.type, batches)
    return _single(teacher, Contender(method, nfe, artifact), chosen, budget)
