from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import checks
from bench.cli.doctor import told
from bench.cli.main import main
from bench.latency.nvml import Reading


def test_doctor_tells_facts_and_checks_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert {"torch", "cpu", "threads", "fingerprint", "devices"} <= set(told["facts"])
    names = {check["name"] for check in told["checks"]}
    assert {"free disk here", "methods", "suite mixture", "known delay (cpu)", "empty call (cpu)"} <= names
    assert code == (0 if all(check["passed"] for check in told["checks"]) else 3)


def test_a_failed_check_is_shown_and_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = checks.Check("a thing", False, "broken", "whole")
    monkeypatch.setattr(checks, "run_checks", lambda device: [failed])
    assert main(["doctor"]) == 3
    assert "FAILED  a thing: broken (wanted: whole)" in capsys.readouterr().out


def test_a_damaged_artifact_is_found(tmp_path: Path) -> None:
    import torch

    from bench.artifacts import Meta, save

    meta = Meta(
        suite="digits",
        teacher="t",
        method="reflow",
        params={},
        name="nfe1",
        nfe=1,
        seed=0,
        fit_evals=1,
        fit_images=0,
        fit_seconds=0.1,
        command="bench fit",
        environment={},
        created="2025-01-01T00:00:00Z",
    )
    artifact = save(tmp_path, {"w": torch.ones(2)}, meta)
    assert checks.damaged(tmp_path) == (1, [])
    artifact.path.write_bytes(artifact.path.read_bytes()[:-1])
    assert checks.damaged(tmp_path) == (1, [str(artifact.path.relative_to(tmp_path))])


def test_a_folder_that_cannot_be_written_to_fails(tmp_path: Path) -> None:
    assert checks.writable(tmp_path).passed
    assert not checks.writable(tmp_path / "none").passed


class FakeMeter:
    def __init__(self, reading: Reading) -> None:
        self.read = lambda: reading


@pytest.mark.parametrize(
    ("meter", "text"),
    [
        (None, "pip install nvidia-ml-py"),
        (
            FakeMeter(Reading(0.0, sm_mhz=1980, watts=90.5, celsius=40, mask=0x44, joules=1.0)),
            "1980 MHz, 90.5 W, 40 C, clocks held down by: power_cap, thermal_hardware",
        ),
        (FakeMeter(Reading(0.0, mask=0x1)), "clocks held down by: nothing, no energy counter"),
        (FakeMeter(Reading(0.0)), "no energy counter"),
    ],
)
def test_what_a_device_tells_is_shown(meter: object, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.latency.protocol.meter_for", lambda device: meter)
    (found,) = told("cuda").values()
    assert found.endswith(text)
    assert told("cpu") == {}
