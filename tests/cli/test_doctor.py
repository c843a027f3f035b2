from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import checks
from bench.cli.main import main


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
