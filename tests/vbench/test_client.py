from __future__ import annotations

import os
import runpy
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.errors import AssetError, UsageError
from bench.vbench import client, environment
from bench.vbench.client import Video, evaluate
from bench.vbench.dimensions import Dimension, dimension
from bench.vbench.environment import Environment, VBenchError, find
from bench.video import write_clips

pytest.importorskip("av")

MAKE = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "vbench_stand_in.py"))["make"]
Stand = Callable[..., Environment]


@pytest.fixture
def stand_in(tmp_path: Path) -> Stand:
    def make(mode: str = "", **options: str) -> Environment:
        return find(MAKE(tmp_path / "stand-in", mode, **options))

    return make


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dimensions of the stand-in need no files."""
    monkeypatch.setattr(client, "link_parts", lambda *_: None)


def videos(folder: Path, *steps: int, prompts: list[str] | None = None) -> list[Video]:
    """Clips of 3 frames, each brighter than the last by a step: temporal flickering is 1 - step / 255."""
    clips = [np.stack([np.full((3, 16, 16), step * frame, np.uint8) for frame in range(3)]) for step in steps]
    manifest = write_clips(folder, np.stack(clips), prompts, fps=8)
    return [Video(folder / clip.file, clip.prompt) for clip in manifest.clips]


def test_scores_and_mean(tmp_path: Path, stand_in: Stand) -> None:
    given = videos(tmp_path / "clips", 0, 51, 102)
    scores = evaluate("temporal_flickering", given, environment=stand_in())
    assert [scores.videos[video.path] for video in given] == pytest.approx([1.0, 0.8, 0.6], abs=1e-12)
    assert scores.mean == pytest.approx(0.8, abs=1e-12)
    assert scores.failed == {}


def test_an_undecodable_video_costs_itself_only(tmp_path: Path, stand_in: Stand) -> None:
    given = videos(tmp_path / "clips", 51)
    broken, short = tmp_path / "broken.mp4", tmp_path / "short.mp4"
    broken.write_bytes(given[0].path.read_bytes()[:200])
    write_clips(tmp_path / "one", np.zeros((1, 1, 3, 16, 16), np.uint8), fps=8)
    next((tmp_path / "one").glob("*.mp4")).rename(short)
    absent = tmp_path / "absent.mp4"
    scores = evaluate("temporal_flickering", [*given, *map(Video, (broken, short, absent))], environment=stand_in())
    assert scores.mean == pytest.approx(0.8)
    assert list(scores.videos) == [given[0].path]
    assert scores.failed == {
        broken: "it cannot be decoded by cv2",
        short: "it has 1 frame(s), and at least 2 are needed",
        absent: "the file is not there",
    }


def test_no_video_at_all_is_a_sentence(tmp_path: Path, stand_in: Stand) -> None:
    with pytest.raises(VBenchError, match=r"none of the 1 videos can be scored: absent.mp4: the file is not there$"):
        evaluate("temporal_flickering", [Video(tmp_path / "absent.mp4")], environment=stand_in())
    with pytest.raises(UsageError, match="no videos"):
        evaluate("temporal_flickering", [])


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        ("killed", r"the VBench worker was killed by SIGKILL, most often for lack of memory; run again$"),
        ("aborted", r"the VBench worker was killed by SIGABRT \(an assertion of the decoder\)$"),
        ("silent", r"gave no answer and ended with code 0 \(something odd\)$"),
        ("garbage", r"gave an answer that cannot be read and ended with code 0"),
        ("foreign", r"not with scores of temporal_flickering for the videos it was given$"),
        ("raises", r"^VBench: RuntimeError: out of memory on device 0$"),
        ("nan", r"a score that is not a number$"),
        ("download", r"wants to run wget https://example.org/weights.pth, and nothing is downloaded unasked$"),
    ],
)
def test_whatever_the_worker_does_is_one_sentence(tmp_path: Path, stand_in: Stand, mode: str, sentence: str) -> None:
    with pytest.raises(VBenchError, match=sentence) as caught:
        evaluate("temporal_flickering", videos(tmp_path / "clips", 51), environment=stand_in(mode))
    assert "\n" not in str(caught.value)
    assert not list(Path(client.tempfile.gettempdir()).glob("bench-vbench-*/request.json"))


def test_a_worker_that_takes_too_long_is_ended_with_its_children(tmp_path: Path, stand_in: Stand) -> None:
    stand, start = stand_in("slow"), time.monotonic()
    with pytest.raises(VBenchError, match=r"was ended after 3 s; give it more time or fewer videos \(still at it\)$"):
        evaluate("temporal_flickering", videos(tmp_path / "clips", 51), environment=stand, seconds=3)
    assert time.monotonic() - start < 20
    child = int(next(stand.path.glob("lib/python3.*/site-packages/vbench/child.txt")).read_text())
    for _ in range(50):
        if not _runs(child):
            return
        time.sleep(0.1)
    pytest.fail("the worker's child lives on")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_video_that_vbench_passes_over_is_named(tmp_path: Path, stand_in: Stand) -> None:
    given = videos(tmp_path / "clips", 51, 102)
    scores = evaluate("temporal_flickering", given, environment=stand_in("noscore"))
    assert scores.failed == {given[0].path: "VBench gives no score for it"}
    assert scores.mean == pytest.approx(0.6)


@pytest.mark.usefixtures("no_weights")
def test_auxiliary_information_comes_from_vbench_by_prompt(tmp_path: Path, stand_in: Stand) -> None:
    given = videos(tmp_path / "clips", 1, 2, 3, 4, prompts=["a zebra", "a cat", "a dog", ""])
    scores = evaluate("object_class", given, environment=stand_in())
    assert [scores.videos.get(video.path) for video in given] == [0.5, 0.3, None, None]
    assert scores.failed[given[2].path] == "its prompt is not one of VBench's for this dimension"
    assert scores.failed[given[3].path] == "it has no prompt, and this dimension needs one"


@pytest.mark.usefixtures("no_weights")
def test_an_action_is_in_the_file_name_and_nothing_else_may_be(tmp_path: Path, stand_in: Stand) -> None:
    right = ["A person is riding a bike", "A person is shooting goal (soccer)", "Riding a bike_at night"]
    wrong = ["../../../tmp/x", "A person is a/b", "x\n"]
    # it would be found nowhere, and count as done wrongly: "close", and one that Kinetics does not know
    wrong += ["Close-up: a person is riding a bike", "A person is walking a digit"]
    given = videos(tmp_path / "clips", *range(8), prompts=right + wrong)
    scores = evaluate("human_action", given, environment=stand_in())
    assert scores.videos == {video.path: 1.0 for video in given[:3]}
    assert len(scores.failed) == 5
    assert set(scores.failed.values()) == {
        "its prompt names no action of Kinetics-400 that VBench could find in a file name"
    }


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(("fps", "frames", "seen"), [(8, 2, 2), (24, 6, 2), (24, 3, 1), (8, 3, 3), (24, 7, 3)])
def test_a_clip_too_short_to_tell_motion_has_no_dynamic_degree(
    tmp_path: Path, stand_in: Stand, fps: int, frames: int, seen: int
) -> None:
    """VBench looks at every (fps / 8)-th frame: 2 of them move and 1 does not, whatever they show."""
    manifest = write_clips(tmp_path / "clips", np.zeros((1, frames, 3, 16, 16), np.uint8), fps=fps)
    given = [Video(tmp_path / "clips" / clip.file) for clip in manifest.clips]
    if seen == 3:
        assert evaluate("dynamic_degree", given, environment=stand_in()).mean == 1
        return
    sentence = rf"it has {seen} frame\(s\) at 8 per second, and at least 3 are needed$"
    with pytest.raises(VBenchError, match=sentence):
        evaluate("dynamic_degree", given, environment=stand_in())


@pytest.mark.usefixtures("no_weights")
def test_prompts_and_scales(tmp_path: Path, stand_in: Stand) -> None:
    given, stand = videos(tmp_path / "clips", 1, prompts=["x" * 25]), stand_in()
    assert evaluate("overall_consistency", given, environment=stand).mean == 0.25
    quality = evaluate("imaging_quality", given, environment=stand)
    assert quality.videos == {given[0].path: 0.5}, "per video, VBench gives MUSIQ's 0 to 100"


def test_missing_weights_are_a_sentence_before_anything_runs(
    tmp_path: Path, stand_in: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(client, "call", lambda *_: pytest.fail("the worker was started"))
    with pytest.raises(AssetError, match="run bench weights fetch vbench-musiq"):
        evaluate("imaging_quality", videos(tmp_path / "clips", 1), environment=stand_in())


def test_weights_are_linked_where_vbench_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.weightstore.store.find", lambda name: tmp_path / name)
    stand = find(MAKE(tmp_path))
    vocabulary = next(stand.path.glob("lib/python3.*/site-packages")) / "clip" / "bpe_simple_vocab_16e6.txt.gz"
    vocabulary.parent.mkdir()
    vocabulary.write_bytes(b"words")
    for name in ("vbench-dino", "vbench-dino-code-hubconf", "vbench-viclip"):
        (tmp_path / name).write_text(name)
    cache = tmp_path / "cache"
    cache.mkdir()
    client.link_parts(dimension("subject_consistency"), stand, cache)
    assert (cache / "hub/checkpoints/dino_vitbase16_pretrain.pth").read_text() == "vbench-dino"
    assert (cache / "dino_model/facebookresearch_dino_main/hubconf.py").read_text() == "vbench-dino-code-hubconf"
    other = tmp_path / "other"
    other.mkdir()
    client.link_parts(dimension("temporal_style"), stand, other)
    assert (other / "ViCLIP/ViClip-InternVid-10M-FLT.pth").read_text() == "vbench-viclip"
    assert (other / "ViCLIP/bpe_simple_vocab_16e6.txt.gz").read_bytes() == b"words"


def test_no_environment_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_VBENCH", str(tmp_path / "none"))
    with pytest.raises(AssetError, match=r"VBench's environment is not at .*none; run bench vbench setup"):
        evaluate("temporal_flickering", [Video(tmp_path / "x.mp4")])
    assert "run bench vbench setup" in environment.problem(dimension("temporal_flickering"))


def test_what_an_environment_lacks_is_said(stand_in: Stand) -> None:
    full = stand_in()
    assert full.problem(dimension("temporal_flickering")) == ""
    assert "this dimension needs detectron2, which is on no package index" in full.problem(dimension("color"))
    assert "cannot be imported" in full.problem(dimension("scene"))


def test_a_minimal_environment_says_so(stand_in: Stand) -> None:
    assert "is a minimal one, for temporal_flickering; run bench vbench setup" in stand_in(kind="minimal").problem(
        dimension("scene")
    )


def test_another_version_of_vbench_is_refused(tmp_path: Path, stand_in: Stand) -> None:
    with pytest.raises(VBenchError, match=r"ran VBench 0.1.4, not 0.1.5; run bench vbench setup"):
        evaluate("temporal_flickering", videos(tmp_path / "clips", 51), environment=stand_in(version="0.1.4"))


def test_an_unknown_dimension_has_a_hint() -> None:
    with pytest.raises(UsageError, match="did you mean temporal_flickering"):
        evaluate("temporal_flicker", [Video(Path("x.mp4"))])


def test_the_worker_sees_little_of_our_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    seen = client._surroundings(tmp_path)
    assert "HF_TOKEN" not in seen
    assert seen["HF_HUB_OFFLINE"] == "1"
    assert seen["HOME"] == str(tmp_path), "VBench writes caches to the home folder"
    assert seen["PATH"] == os.environ["PATH"]


def test_the_worker_runs_on_old_pythons() -> None:
    """It is for the Python of VBench's environment, 3.9 or later, and may not import this package."""
    import ast

    text = client.WORKER.read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 9))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name for name in names if name.partition(".")[0] in ("bench", "numpy", "torch", "pydantic")}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Match)]


def test_every_dimension_has_what_it_needs_in_the_manifest() -> None:
    from bench.vbench.dimensions import DIMENSIONS
    from bench.weightstore.store import entry

    for each in DIMENSIONS.values():
        assert isinstance(each, Dimension)
        for name, place in each.parts:
            assert entry(name).file.endswith(Path(place).name)
    assert [name for name, each in DIMENSIONS.items() if not each.parts] == ["temporal_flickering"]
