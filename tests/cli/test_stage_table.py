from __future__ import annotations

from bench.cell import Cell
from bench.cli.stage_table import stage_tables
from bench.record import Latency, Record, Status


def record(method: str, **fields: object) -> Record:
    cell = Cell(
        suite="s",
        method=method,
        nfe=4,
        seed=0,
        samples=0,
        suite_revision="",
        method_revision="",
        metrics=("latency-v2/x",),
    )
    entry = Latency(batch=2, runs=10, cold=1.0, p50=0.1, images_per_second=20.0, **fields)  # type: ignore[arg-type]
    return Record(id=cell.id, cell=cell, status=Status.OK, latency=(entry,), created="2026-01-01T00:00:00+00:00")


def test_what_is_told_stands_in_two_tables_and_what_is_missing_in_none() -> None:
    full = record(
        "a",
        stages={"text_encoder": 0.01, "denoiser": 0.06, "solver": 0.01, "decoder": 0.02},
        cold_stages={"denoiser": 0.5, "solver": 0.5, "load": 2.0, "process": 3.0, "compile": 4.0},
        memory={"allocated": 3 << 20, "reserved": 4 << 20},
        power_watts=300.0,
        energy_joules=30.0,
        throttled={"any": 3, "power_cap": 3},
    )
    plain = record("b")
    fallen = record("c", stages={"denoiser": 0.06, "solver": 0.01}, fallback="it waits")
    stages, device = stage_tables([full, plain, fallen])
    assert [row[:7] for row in stages.rows] == [
        ["a", "4", "2", "10.0", "60.0", "10.0", "20.0"],
        ["c [1]", "4", "2", "–", "60.0", "10.0", "–"],
    ]
    assert stages.rows[0][7:] == ["2.00", "4.00", "10.0"]  # load, compile, process start to first image
    assert stages.notes == ["it waits"]
    assert device.rows == [["a", "4", "2", "3.00", "4.00", "–", "300", "30.0", "3 of 10"]]
    assert stage_tables([plain]) == []
