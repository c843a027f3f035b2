"""``bench fit``: what it makes, what it does not make again, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.cli.main import main

TINY = "progressive[start=8,steps=1,batch=2],consistency[steps=1,batch=2]"


@pytest.fixture(autouse=True)
def toy() -> None:
    registry.add_path("suite", Path(__file__).parents[1] / "fixtures" / "toy.py")


def fit(out: Path, *args: str) -> int:
    return main(["fit", "--suite", "toy", "--out", str(out), *args])


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_it_makes_each_artifact_once_and_not_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(tmp_path, "--methods", TINY, "--nfe", "1,2,4") == 0
    assert [line.split(",")[0] for line in lines(capsys)] == [
        "progressive nfe4: fitted", "progressive nfe2: fitted", "progressive nfe1: fitted", "consistency cd: fitted"
    ]  # fmt: skip
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert fit(tmp_path, "--methods", TINY, "--nfe", "1,2,4") == 0
    assert all("is there" in line for line in lines(capsys))
    assert made == {path: path.stat().st_mtime_ns for path in made}
    assert fit(tmp_path, "--methods", TINY, "--nfe", "1", "--force") == 0
    assert all("fitted" in line for line in lines(capsys))


def test_the_recorded_command_makes_the_same_artifact(tmp_path: Path) -> None:
    import shlex

    assert fit(tmp_path / "a", "--methods", TINY, "--nfe", "2", "--seed", "3") == 0
    (record,) = (tmp_path / "a").rglob("nfe2.json")
    meta = json.loads(record.read_text(encoding="utf-8"))
    program, *words = shlex.split(meta["command"])
    assert program == "bench"
    assert main([*words, "--out", str(tmp_path / "b")]) == 0
    again = tmp_path / "b" / record.relative_to(tmp_path / "a")
    assert json.loads(again.read_text(encoding="utf-8"))["sha256"] == meta["sha256"]


def test_an_impossible_budget_is_said_and_others_are_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = TINY.split("],", maxsplit=1)[0] + "]"
    assert fit(tmp_path, "--methods", spec, "--nfe", "3,4,5") == 0
    shown = lines(capsys)
    assert all(any(f"nfe={nfe}: unsupported: progressive halves" in line for line in shown) for nfe in (3, 5))
    assert any(line.startswith("progressive nfe4: fitted") for line in shown)
    assert fit(tmp_path, "--methods", spec, "--nfe", "3") == 3


@pytest.mark.parametrize(
    "args, sentence",
    [
        ((), "either --methods NAMES or --teacher"),
        (("--methods", "progressive", "--teacher"), "either --methods NAMES or --teacher"),
        (("--methods", "progresive"), "did you mean progressive"),
        (("--methods", "progressive[start=x]"), "start"),
        (("--methods", "solvers"), "names no method that has something to fit"),
        (("--methods", "progressive", "--nfe", "0"), "not a number from 1"),
        (("--methods", "progressive", "--nfe", "-1"), "not a number from 1"),
        (("--methods", "progressive", "--nfe", "a"), "not a number from 1"),
        (("--methods", "progressive", "--nfe", "1000000000"), "not a number from 1"),
        (("--methods", "progressive", "--nfe", ""), "not a number from 1"),
        (("--teacher",), "closed form"),
    ],
)
def test_bad_usage_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...], sentence: str
) -> None:
    assert fit(tmp_path, *args) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_exit_code_6(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert fit(tmp_path / "file", "--methods", "consistency[steps=1,batch=2]", "--nfe", "1") == 6
    assert "--out" in capsys.readouterr().err


def test_the_teacher_is_the_suites_business(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit_teacher(self: Any, destination: Path, seed: int, progress: Any) -> None:
        progress(1, 1, "teacher")
        seen.append((destination, seed))

    seen: list[tuple[Path, int]] = []
    monkeypatch.setattr(registry.load("suite", "toy"), "fit_teacher", fit_teacher)
    assert fit(tmp_path, "--teacher", "--seed", "5") == 0
    assert seen == [(tmp_path / "toy", 5)]
    assert str(tmp_path / "toy") in capsys.readouterr().out


def test_progress_is_lines_where_there_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(tmp_path, "--methods", "consistency[steps=130,batch=2]", "--nfe", "1") == 0
    seen = [line.split(" loss")[0] for line in capsys.readouterr().err.splitlines()]
    assert seen == ["50/130 cd", "100/130 cd", "130/130 cd"]
