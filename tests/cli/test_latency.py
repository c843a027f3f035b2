from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import torch

from bench.cli.main import main

QUICK = ["--suite", "mixture", "--batches", "2", "--seconds", "0.01", "--threads", "1"]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The command sets the number of threads of its process, which here is the tests'."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_latency_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", "--methods", "ddim,heun", "--nfe", "2,3", *QUICK, "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    found = {(record["cell"]["method"], record["cell"]["nfe"]): record for record in records}
    assert len(found) == 4
    ok = found["ddim", 2]
    assert ok["cell"]["metrics"][0].startswith("latency-v1/cpu/float32/b=2/")
    (entry,) = ok["latency"]
    assert entry["batch"] == 2 and entry["p50"] > 0 and entry["p99"] is None
    assert entry["images_per_second"] == pytest.approx(2 / entry["p50"])
    assert found["heun", 2]["status"] == "unsupported"


def test_latency_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", "--methods", "ddim,heun", "--nfe", "2", *QUICK]) == 0
    text = capsys.readouterr().out
    assert "ddim" in text and "unsupported [1]" in text and "latency-v1/cpu" in text


@pytest.mark.parametrize(
    ("options", "part"),
    [(["--batches", "0"], "batches"), (["--methods", "ddimm"], "did you mean ddim"), (["--nfe", "a"], "nfe")],
)
def test_bad_input(options: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", "--suite", "mixture", *options]) == 2
    assert part in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--mode", "graph"], "--device cuda"),
        (["--mode", "compil"], "did you mean compile"),
        (["--resolutions", "512"], "one size only"),
        (["--batches", "2,x"], "batches must be an integer"),
    ],
)
def test_modes_and_sizes_that_cannot_be(options: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", "--suite", "mixture", "--methods", "ddim", *options]) == 2
    assert part in capsys.readouterr().err


def test_a_mode_that_falls_back_says_so_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", "--methods", "ddim", "--nfe", "2", *QUICK, "--mode", "compile", "--rounds", "2"]) == 0
    text = capsys.readouterr().out
    assert "latency-v2/cpu" in text and "mode=compile" in text
    assert "denoise ms" in text and "not a torch.nn.Module" in text
