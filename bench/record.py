"""Records: what became of a cell. Versioned data; every requested cell ends as exactly one."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bench.cell import Cell

SCHEMA = 1


class Status(StrEnum):
    """How a cell ended."""

    OK = "ok"
    FAILED = "failed"
    CRASHED = "crashed"
    OOM = "oom"
    TIMEOUT = "timeout"
    UNSUPPORTED = "unsupported"
    INVALID = "invalid"


FAILURES = frozenset({Status.FAILED, Status.CRASHED, Status.OOM, Status.TIMEOUT, Status.INVALID})


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Measured(_Data):
    """One metric of one cell; ``None`` is missing, never 0."""

    value: float
    low: float | None = None
    high: float | None = None
    interval: str = ""
    label: str
    better: str
    detail: dict[str, float] = Field(default_factory=dict)


class FitCost(_Data):
    """What a calibrated or distilled method had cost before this cell."""

    fit_evals: int
    fit_images: int
    fit_seconds: float


class Latency(_Data):
    """One latency measurement, seconds per batch; percentiles without enough runs behind them are missing.

    Attributes:
        runs, warm_up: how many calls counted, and how many came before them.
        settled: whether warm-up ended because durations had settled, rather than out of time.
        p50_low, p50_high: 95 % interval of the median, distribution-free.
        peak_memory_bytes: above what was held before the call.
        mode: eager, graph or compile..., as asked; ``fallback`` says why (a part of) it ran eagerly all the same.
        rounds: how often the methods of a group took turns.
        stages: seconds per batch of text_encoder, denoiser, solver and decoder, where there are such.
        cold_stages: the same of the first call, and what came before it: process, load, compile.
        memory: bytes: allocated, reserved, nvml_process, nvml_device.
        power_watts, energy_joules: mean over the timed turns; energy is per batch.
        samples: one value per run and column; None where the device did not tell.
        throttled: how many runs had their clocks held down, in all (``any``) and by reason; empty if it is not told.
    """

    batch: int
    runs: int
    cold: float
    warm_up: int | None = None
    settled: bool | None = None
    p50: float
    p50_low: float | None = None
    p50_high: float | None = None
    p90: float | None = None
    p99: float | None = None
    images_per_second: float
    denoiser_share: float | None = None
    peak_memory_bytes: int | None = None
    clocks: dict[str, float | str] = Field(default_factory=dict)
    mode: str = ""
    fallback: str = ""
    rounds: int | None = None
    stages: dict[str, float] = Field(default_factory=dict)
    cold_stages: dict[str, float] = Field(default_factory=dict)
    memory: dict[str, int] = Field(default_factory=dict)
    power_watts: float | None = None
    energy_joules: float | None = None
    samples: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)
    throttled: dict[str, int] = Field(default_factory=dict)


class Record(_Data):
    """What became of one cell.

    Attributes:
        id: the cell's id, also the file name.
        reason: why the status is not ok, one sentence.
        stderr: tail of what the worker wrote to stderr, for failures.
        missing: why a metric has no number and how to get one, by its id.
        notes: what a reader has to know of how the cell ran, such as a batch that was halved.
        nfe, network_evals, flops: counted per sample.
        seconds: wall clock of the cell in its worker.
        environment: versions, hardware fingerprint, threads.
        created: UTC, ISO 8601.
    """

    schema_version: int = SCHEMA
    id: str
    cell: Cell
    status: Status
    reason: str = ""
    stderr: str = ""
    metrics: dict[str, Measured] = Field(default_factory=dict)
    missing: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    latency: tuple[Latency, ...] = ()
    nfe: int | None = None
    network_evals: float | None = None
    flops: float | None = None
    fit: FitCost | None = None
    seconds: float | None = None
    environment: dict[str, Any] = Field(default_factory=dict)
    created: str
