"""Synthetic runs for the tests of reports: known numbers, no suite and no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.cell import Cell
from bench.record import FitCost, Latency, Measured, Record, Status

FD = "fd:digits-cnn@1a2b3c4d/n=2000/ref=9c0d1e2f"
ACCURACY = "class_accuracy:digits-cnn@1a2b3c4d/n=2000"
PROTOCOL = "latency-v1/cpu/float32/b=1,64/compile=off/hw=some-cpu-2c-2t@01234567"
NFE = (1, 2, 4, 8)
ENVIRONMENT = {
    "fewstep-bench": "0.1.0",
    "python": "3.11.9",
    "torch": "2.9.1",
    "numpy": "2.3.1",
    "cpu": "Some CPU",
    "cores": 2,
    "threads": 2,
    "gpu": "",
}
TWENTY = (
    "ddim",
    "ddim[eta=1.0]",
    "ddpm",
    "heun",
    "dpm_solver[order=2]",
    "dpm_solver[order=3,grid=logsnr]",
    "dpm_solver_pp",
    "dpm_solver_pp[order=3,grid=logsnr]",
    "dpm_solver_pp[sde=true,grid=time_uniform]",
    "deis[variant=log_rho,order=3]",
    "deis",
    "unipc",
    "unipc[variant=bh1,order=3,grid=karras[rho=5]]",
    "ipndm",
    "optimal_stepsize",
    "optimal_stepsize[solver=heun]",
    "bespoke",
    "progressive",
    "consistency",
    "reflow",
)


def cell(method: str, nfe: int, seed: int = 0, **changes: Any) -> Cell:
    fields: dict[str, Any] = {
        "suite": "digits",
        "method": method,
        "nfe": nfe,
        "seed": seed,
        "samples": 2000,
        "suite_revision": "5f5f5f5f",
        "method_revision": "r1",
        "metrics": (FD, ACCURACY),
    }
    return Cell(**fields | changes)


def measured(value: float, half: float | None = 0.5, label: str = "FD (digits-cnn)", better: str = "lower") -> Measured:
    bounds = {} if half is None else {"low": value - half, "high": value + half, "interval": "jackknife, normal"}
    return Measured(value=value, label=label, better=better, **bounds)  # type: ignore[arg-type]


def record(where: Cell, metrics: dict[str, Measured] | None = None, **fields: Any) -> Record:
    common: dict[str, Any] = {
        "id": where.id,
        "cell": where,
        "status": Status.OK,
        "metrics": metrics or {},
        "nfe": where.nfe,
        "network_evals": float(where.nfe),
        "environment": ENVIRONMENT,
        "created": "2025-01-01T00:00:00Z",
    }
    return Record(**common | fields)


def latency(batch: int, seconds: float) -> Latency:
    return Latency(
        batch=batch, runs=40, cold=2 * seconds, p50=seconds, p90=1.1 * seconds, images_per_second=batch / seconds
    )


def write(out: Path, records: list[Record], **arrays: dict[str, Any]) -> Path:
    """Write records, and arrays by name and cell id into the files beside them."""
    folder = out / "records"
    folder.mkdir(parents=True, exist_ok=True)
    for item in records:
        (folder / f"{item.id}.json").write_text(item.model_dump_json())
        beside = {name: values[item.id] for name, values in arrays.items() if item.id in values}
        if beside:
            np.savez_compressed(folder / f"{item.id}.npz", **beside)
    return out


def twenty(out: Path, methods: tuple[str, ...] = TWENTY, crowded: bool = False) -> Path:
    """Twenty methods at four budgets, with failures, latency, fit costs and previews."""
    source = np.random.default_rng(0)
    records, previews, influences = [], {}, {}
    for i, method in enumerate(methods):
        is_student = method in ("progressive", "consistency", "reflow")
        for nfe in NFE:
            where = cell(method, nfe)
            timed = cell(method, nfe, samples=0, metrics=(PROTOCOL,))
            if method.startswith("heun") and nfe == 1:
                records.append(
                    record(where, status=Status.UNSUPPORTED, reason="heun uses 2N - 1 evaluations; try 1 or 3")
                )
                continue
            if method == "ddpm" and nfe == 4:
                records.append(record(where, status=Status.FAILED, reason="samples are not finite"))
                continue
            level = (20.0 if is_student else 260.0) / (nfe ** (0.5 if is_student else 1.4))
            value = 50.0 if crowded else level * (1 + 0.05 * i) + 6
            fit = FitCost(fit_evals=12800 * (i - 10), fit_images=0, fit_seconds=3.5 * i) if i > 13 else None
            metrics = {
                FD: measured(value, 0.04 * value),
                ACCURACY: measured(1 - level / 400, 0.01, "class accuracy", "higher"),
            }
            records.append(record(where, metrics, fit=fit))
            seconds = 0.004 * nfe * (1 + 0.02 * i)
            records.append(record(timed, latency=(latency(1, seconds), latency(64, 20 * seconds))))
            previews[where.id] = source.integers(0, 256, (10, 1, 8, 8), dtype=np.uint8)
            influences[where.id] = source.normal(size=2000).astype(np.float32) * value
    return write(out, records, preview=previews, influence=influences)
