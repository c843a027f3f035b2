from __future__ import annotations

import gc
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench import registry
from bench.batch import Batch
from bench.errors import AssetError, UsageError
from bench.metrics._intervals import Z
from bench.metrics.vbench import VBench
from bench.vbench.environment import VBenchError

pytest.importorskip("av")

MAKE = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "vbench_stand_in.py"))["make"]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary folders of clips go where the test can see them."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str = "") -> None:
    monkeypatch.setenv("BENCH_VBENCH", str(MAKE(tmp_path / "made", mode)))


def batch(*steps: int, prompts: tuple[str, ...] | None = None) -> Batch:
    """Clips of 3 frames, each brighter than the last by a step: temporal flickering is 1 - step / 255."""
    ramp = torch.arange(3).view(1, 3, 1, 1, 1) * torch.tensor(steps).view(-1, 1, 1, 1, 1)
    clips: Tensor = ramp.expand(-1, -1, 3, 16, 16).to(torch.uint8).contiguous()
    return Batch(samples=torch.zeros(len(steps), 1), clips=clips, prompts=prompts)


def test_value_interval_and_influence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch)
    metric = VBench()
    steps = (0, 51, 102, 51)
    found = metric.value(metric.statistics(batch(*steps)), None)
    each = np.array([1 - step / 255 for step in steps])
    error = each.std(ddof=1) / 2
    assert found.value == pytest.approx(0.8)
    assert (found.low, found.high) == (pytest.approx(0.8 - Z * error), pytest.approx(min(1.0, 0.8 + Z * error)))
    assert found.influence == pytest.approx(each - 0.8)
    assert found.detail == {"normalised": pytest.approx((0.8 - 0.6293) / (1 - 0.6293))}
    assert found.interval == "normal, over clips"


def test_batches_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch)
    metric, steps = VBench(), (0, 51, 102, 5, 51)
    whole = metric.value(metric.statistics(batch(*steps)), None)
    parts = (
        metric.statistics(batch(*steps[:2])) + metric.statistics(batch(*steps[2:3])) + metric.statistics(batch(5, 51))
    )
    apart = metric.value(parts, None)
    assert apart.value == whole.value
    assert apart.influence is not None and whole.influence is not None
    np.testing.assert_array_equal(apart.influence, whole.influence)


def test_dimensions_share_clips_which_go_when_nobody_needs_them(folders: Path) -> None:
    one, other = VBench(), VBench(dimension="motion_smoothness")
    given = batch(0, 51, prompts=("a", "b"))
    statistics: list[Any] = [one.statistics(given), other.statistics(given)]
    assert [len(list(folder.glob("*.mp4"))) for folder in folders.iterdir()] == [2]
    assert [prompt for _, prompt in statistics[0]] == ["a", "b"]
    assert list(statistics[0]) == list(statistics[1])
    VBench(fps=24).statistics(given)
    assert len(list(folders.iterdir())) == 2, "another frame rate makes other files"
    del given
    gc.collect()
    assert len(list(folders.iterdir())) == 1
    statistics.clear()
    gc.collect()
    assert list(folders.iterdir()) == []


def test_a_clip_that_cannot_be_scored_ends_the_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch)
    metric = VBench()
    statistics = metric.statistics(batch(0, 51, 102))
    path = [path for path, _ in statistics][1]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(
        VBenchError, match=r"cannot score 1 of 3 clips in temporal_flickering; clip 1: it cannot be decoded"
    ):
        metric.value(statistics, None)


@pytest.mark.parametrize(
    ("mode", "sentence"), [("killed", "killed by SIGKILL"), ("raises", "out of memory on device 0")]
)
def test_a_worker_that_dies_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, sentence: str
) -> None:
    stand_in(tmp_path, monkeypatch, mode)
    metric = VBench()
    with pytest.raises(VBenchError, match=sentence):
        metric.value(metric.statistics(batch(0, 51)), None)


def test_what_is_missing_is_known_before_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_VBENCH", str(tmp_path / "none"))
    assert "run bench vbench setup" in VBench().problem()
    with pytest.raises(AssetError, match="run bench vbench setup"):
        VBench().value(VBench().statistics(batch(0)), None)
    stand_in(tmp_path, monkeypatch)
    assert VBench().problem() == ""
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "av", None)
        assert VBench().problem().endswith("run pip install 'fewstep-bench[video]'")
        with pytest.raises(UsageError, match=r"'fewstep-bench.video.'$"):
            VBench().statistics(batch(1))
    assert VBench().weights() == ()
    assert VBench(dimension="dynamic_degree").weights() == ("vbench-raft",)


def test_the_id_names_version_and_weights() -> None:
    assert VBench().network_id() == "vbench-0.1.5"
    others = {VBench(dimension=name).network_id() for name in ("motion_smoothness", "imaging_quality", "scene")}
    assert len(others) == 3
    assert all(name.startswith("vbench-0.1.5@") for name in others)


def test_parameters() -> None:
    made = registry.create("metric", "vbench[dimension=motion_smoothness,fps=24]")
    assert (made.dimension, made.fps, made.label) == ("motion_smoothness", 24.0, "VBench motion smoothness")
    with pytest.raises(UsageError, match="did you mean motion_smoothness"):
        registry.create("metric", "vbench[dimension=motion_smooth]")


def test_clips_are_needed() -> None:
    with pytest.raises(ValueError, match="vbench needs clips"):
        VBench().statistics(Batch(samples=torch.zeros(1, 1)))
