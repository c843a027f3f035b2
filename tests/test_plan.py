"""Requests become cells; what is wrong with one is said before anything runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench import registry
from bench.definition import metric_id, metric_spec
from bench.errors import AssetError, BenchError, DeviceError, ExitCode, UsageError
from bench.plan import load, make_plan, select
from bench.record import Status
from bench.request import NFE_LIMIT, Request, add_plugins, integers
from bench.weights import read_verified

PLUGINS = Path(__file__).parent / "faults" / "plugins"
REQUEST = Request(suite="mixture", methods="ddim", nfe=(1, 2), metrics="mean_norm", samples=8)


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_by_path", {})
    add_plugins([f"metric:{PLUGINS / 'mean_norm.py'}", f"metric:{PLUGINS / 'gap.py'}"])
    yield


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1,2,4", (1, 2, 4)), ("1-3", (1, 2, 3)), ("4,1-2, 2", (4, 1, 2)), (" 7 ", (7,)), ("5-5", (5,)), ("99", (99,))],
)
def test_integers(text: str, expected: tuple[int, ...]) -> None:
    assert integers(text, "nfe", 1, NFE_LIMIT) == expected


def test_every_combination_is_one_cell() -> None:
    plan = make_plan(replace(REQUEST, methods="ddim,heun,ddim,ddim[eta=0.5],ddim[eta=0]", seeds=(0, 3)))
    keys = {(cell.method, cell.nfe, cell.seed) for cell in (planned.cell for planned in plan.cells)}
    assert keys == {(m, n, s) for m in ("ddim", "heun", "ddim[eta=0.5]") for n in (1, 2) for s in (0, 3)}
    assert len(plan.cells) == len(keys) == len({planned.cell.id for planned in plan.cells})


def test_latency_cells_come_last_and_know_their_protocol() -> None:
    cells = [planned.cell for planned in make_plan(replace(REQUEST, latency=True, seeds=(0, 1))).cells]
    assert [cell.is_latency for cell in cells] == [False] * 4 + [True] * 2
    assert {cell.samples for cell in cells if cell.is_latency} == {0}


def test_families_and_all() -> None:
    solvers = {spec.name for spec in select("solvers")}
    everything = {spec.name for spec in select("all")}
    assert {"ddim", "heun"} <= solvers < everything
    assert {registry.entry("method", name).info.family for name in solvers} == {"solvers"}  # type: ignore[union-attr]


BAD = {
    "method": (replace(REQUEST, methods="ddimm"), "unknown method 'ddimm'; did you mean ddim"),
    "parameter": (replace(REQUEST, methods="ddim[etta=1]"), "parameter of method ddim 'etta'; did you mean eta"),
    "type": (replace(REQUEST, methods="ddim[eta=much]"), "ddim: eta.*'much'"),
    "group": (replace(REQUEST, methods="all[order=2]"), "all is a group"),
    "none": (replace(REQUEST, methods=","), "no method is selected"),
    "suite": (replace(REQUEST, suite="mixtur"), "unknown suite 'mixtur'; did you mean mixture"),
    "preset": (replace(REQUEST, suite="mixture[preset=cube]"), "preset"),
    "metric": (replace(REQUEST, metrics="mean_nrm"), "unknown metric 'mean_nrm'; did you mean mean_norm"),
    "no metric": (replace(REQUEST, metrics=","), "at least one metric"),
    "device": (replace(REQUEST, device="cdua"), "unknown device 'cdua'; did you mean cuda"),
    "dtype": (replace(REQUEST, dtype="float23"), "unknown dtype 'float23'; did you mean float32"),
    "samples": (replace(REQUEST, samples=0), "samples must be from 1"),
}


@pytest.mark.parametrize(("request_", "sentence"), BAD.values(), ids=BAD)
def test_bad_requests(request_: Request, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        make_plan(request_)


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError) as caught:
        make_plan(replace(REQUEST, device="cuda"))
    assert caught.value.exit_code == ExitCode.NO_DEVICE


@pytest.mark.parametrize("text", ["def (", "raise RuntimeError('at import')\n", "X = 1\n", "INFO = 3\n"])
def test_a_broken_plug_in_is_invalid_cells(tmp_path: Path, text: str) -> None:
    path = tmp_path / f"broken{abs(hash(text))}.py"
    path.write_text("from bench.info import Info\nINFO = Info(summary='x')\n" + text if "INFO" not in text else text)
    add_plugins([str(path)])
    plan = make_plan(replace(REQUEST, methods=f"ddim,{path.stem}"))
    verdicts = {planned.cell.method: planned.verdict for planned in plan.cells}
    assert verdicts["ddim"] is None
    status, reason = verdicts[path.stem] or (None, "")
    assert status is Status.INVALID
    assert path.stem in reason


def test_a_missing_artifact_is_unsupported_and_says_what_to_do() -> None:
    planned = make_plan(replace(REQUEST, methods="progressive", nfe=(2,))).cells[0]
    assert planned.verdict is not None
    assert planned.verdict[0] is Status.UNSUPPORTED
    assert "bench fit --suite 'mixture' --methods 'progressive' --nfe 2" in planned.verdict[1]


def test_metric_ids_carry_their_definition() -> None:
    suite, spec = load("suite", "mixture")
    metric, name = load("metric", "mean_norm")
    assert metric_id(suite, spec, metric, name, 8) == "mean_norm:samples/n=8"
    gap, name = load("metric", "gap")
    first = metric_id(suite, spec, gap, name, 8)
    assert first.startswith("gap:mixture@") and first.endswith("/n=8")
    other, other_spec = load("suite", "mixture[preset=gaussian]")
    assert metric_id(other, other_spec, gap, name, 8) != first
    assert metric_spec("fd[a=1]:digits-cnn@1/n=5/ref=2") == "fd[a=1]"


@pytest.mark.parametrize(
    ("name", "value"),
    [("nfe", (3,)), ("seeds", (1,)), ("samples", 9), ("dtype", "float64"), ("methods", "ddim[eta=1]")],
)
def test_what_determines_a_number_is_in_the_identity(name: str, value: object) -> None:
    base = make_plan(replace(REQUEST, nfe=(1,))).cells[0].cell
    other = make_plan(replace(replace(REQUEST, nfe=(1,)), **{name: value})).cells[0].cell  # type: ignore[arg-type]
    assert base.id != other.id


def test_damaged_weights(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"weights")
    path.with_suffix(".json").write_text(f'{{"sha256": "{"0" * 64}"}}')
    for damage in (lambda: None, lambda: path.with_suffix(".json").write_text("{"), lambda: path.unlink()):
        damage()
        with pytest.raises(AssetError, match=r"net\.safetensors.*restore"):
            read_verified(path)


def test_a_damaged_suite_stops_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(self: object) -> None:
        raise FileNotFoundError("teacher.safetensors")

    monkeypatch.setattr(type(load("suite", "mixture")[0]), "verify", damaged)
    with pytest.raises(BenchError) as caught:
        make_plan(REQUEST)
    assert caught.value.exit_code == ExitCode.ASSET


PACKAGES = {
    "tiny-t2i": (["diffusers", "open_clip"], "needs diffusers and open-clip.*'fewstep-bench.diffusers,metrics.'$"),
    "moving-digits": (["diffusers", "transformers"], "needs diffusers and transformers.*'fewstep-bench.diffusers.'$"),
}


@pytest.mark.parametrize(("suite", "absent", "sentence"), [(name, *rest) for name, rest in PACKAGES.items()])
def test_a_suite_without_its_packages_stops_before_the_run(
    monkeypatch: pytest.MonkeyPatch, suite: str, absent: list[str], sentence: str
) -> None:
    """No cell is planned, so none fails and stays a failure when the package has come."""
    for name in absent:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=sentence) as caught:
        make_plan(replace(REQUEST, suite=suite))
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_plug_in_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.py is not a file"):
        add_plugins([str(tmp_path / "gone.py")])
