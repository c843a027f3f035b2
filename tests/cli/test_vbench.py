from __future__ import annotations

import json
import runpy
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.errors import ExitCode
from bench.vbench.dimensions import DIMENSIONS
from bench.video import write_clips

Bench = Callable[..., "subprocess.CompletedProcess[str]"]
MAKE = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "vbench_stand_in.py"))["make"]

COGVIDEOX = [
    96.87,
    97.35,
    98.88,
    98.31,
    50.93,
    62.79,
    65.02,
    87.47,
    69.65,
    97.20,
    87.55,
    80.25,
    52.91,
    24.89,
    25.19,
    27.30,
]
"""CogVideoX-1.5, arXiv 2502.05179, Table 1: total 82.17, quality 82.78, semantic 79.76."""


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A zip as it is sent to the leaderboard."""
    path = tmp_path / "cogvideox.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in zip(DIMENSIONS, COGVIDEOX, strict=True):
            archive.writestr(f"results/{name}_eval_results.json", json.dumps({name: [value / 100, []]}))
    return path


def test_an_official_zip_gives_the_published_total(bench: Bench, tmp_path: Path, official: Path) -> None:
    done = bench("vbench", "import", str(official), "--write", str(tmp_path / "kept.json"))
    assert (done.returncode, done.stderr) == (0, "")
    header, row = done.stdout.splitlines()
    assert header.split() == ["OF", "QUALITY", "SEMANTIC", "SCORE", "NAME"]
    assert row.split() == ["cogvideox", "82.78", "79.76", "82.17", "vbench"]
    kept = json.loads((tmp_path / "kept.json").read_text(encoding="utf-8"))
    assert kept["raw"]["scene"] == 0.5291
    assert kept["total"] == pytest.approx(0.8217, abs=1e-4)


def test_a_missing_dimension_is_a_partial_score(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "mine_eval_results.json"
    path.write_text(json.dumps({"temporal_flickering": [0.9, []], "dynamic_degree": [0.5, []]}), encoding="utf-8")
    done = bench("vbench", "score", str(path), "--json")
    (found,) = json.loads(done.stdout)
    assert found["total"] is None and found["quality"] is None
    assert found["name"] == "partial(temporal_flickering,dynamic_degree)"
    assert found["partial"] == pytest.approx(((0.9 - 0.6293) / 0.3707 + 0.5 * 0.5) / 1.5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("import", "absent.zip"), "absent.zip is not a file"),
        (("score", "absent"), "absent is not there"),
        (("evaluate", "absent"), "absent is not a folder of videos"),
        (("evaluate", ".", "--dimensions", "temporal_flicker"), "did you mean temporal_flickering"),
        (("evaluate", ".", "--device", "tpu"), "write cpu or cuda"),
        (("setup", "--python", "/nonexistent", "--path", "x"), "is not Python 3.11"),
    ],
)
def test_bad_usage_is_one_sentence(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clips(tmp_path, np.zeros((1, 2, 3, 16, 16), np.uint8), fps=8)
    done = bench("vbench", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("bench: ")


def test_a_folder_is_scored_and_what_fails_is_said(bench: Bench, tmp_path: Path) -> None:
    pytest.importorskip("av")
    env = {"BENCH_VBENCH": str(MAKE(tmp_path)), "BENCH_WEIGHTS": str(tmp_path / "none")}
    ramp = np.arange(3, dtype=np.uint8).reshape(1, 3, 1, 1, 1) * np.uint8(51)
    write_clips(tmp_path / "clips", np.broadcast_to(ramp, (1, 3, 3, 16, 16)), fps=8)
    done = bench("vbench", "evaluate", str(tmp_path / "clips"), "--out", str(tmp_path / "out"), env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "partial(temporal_flickering)" in done.stdout
    data = json.loads((tmp_path / "out" / "clips_eval_results.json").read_text(encoding="utf-8"))
    assert data["temporal_flickering"][0] == pytest.approx(0.8)
    assert bench("vbench", "score", str(tmp_path / "out" / "clips_eval_results.json")).stdout == done.stdout

    names = "temporal_flickering,imaging_quality,color"
    some = bench("vbench", "evaluate", str(tmp_path / "clips"), "--dimensions", names, env=env)
    assert some.returncode == 3
    assert "partial(temporal_flickering)" in some.stdout
    assert "imaging_quality: weights vbench-musiq are not here" in some.stderr
    assert "color: this dimension needs detectron2" in some.stderr

    (tmp_path / "file").touch()
    early = bench("vbench", "evaluate", str(tmp_path / "clips"), "--out", str(tmp_path / "file" / "out"), env=env)
    assert (early.returncode, early.stdout) == (ExitCode.OUTPUT, "")
    assert "give another --out" in early.stderr and len(early.stderr.splitlines()) == 1


def test_one_broken_clip_leaves_no_mean_and_a_trace(bench: Bench, tmp_path: Path) -> None:
    """A mean over the others would be of other samples; the file is read by others, who see no exit code."""
    pytest.importorskip("av")
    env = {"BENCH_VBENCH": str(MAKE(tmp_path)), "BENCH_WEIGHTS": str(tmp_path / "none")}
    clips, file = tmp_path / "clips", tmp_path / "out" / "clips_eval_results.json"
    ramp = np.arange(3, dtype=np.uint8).reshape(1, 3, 1, 1, 1) * np.array([0, 51, 85], np.uint8).reshape(3, 1, 1, 1, 1)
    names = [clip.file for clip in write_clips(clips, np.broadcast_to(ramp, (3, 3, 3, 16, 16)), fps=8).clips]
    (clips / names[1]).write_bytes(b"broken")
    done = bench("vbench", "evaluate", str(clips), "--out", str(file.parent), env=env)
    assert (done.returncode, done.stdout) == (ExitCode.CELL_FAILED, "")
    assert names[1] in done.stderr and "no mean over the other 2" in done.stderr
    mean, rows = json.loads(file.read_text(encoding="utf-8"))["temporal_flickering"]
    assert mean is None
    assert {row["video_path"]: row["video_results"] for row in rows} == {
        names[0]: 1.0,
        names[1]: None,
        names[2]: pytest.approx(2 / 3),
    }
    later = bench("vbench", "score", str(file))
    assert (later.returncode, later.stdout) == (ExitCode.CELL_FAILED, "")
    assert f"1 of 3 videos could not be scored, first {names[1]}: it cannot be decoded by cv2" in later.stderr
    assert len(later.stderr.splitlines()) == 1

    for name in names:
        (clips / name).write_bytes(b"broken")
    none = bench("vbench", "evaluate", str(clips), env=env)
    assert none.returncode == ExitCode.CELL_FAILED
    assert f"none of the 3 videos can be scored: {names[0]}: it cannot be decoded by cv2" in none.stderr


def test_help_says_what_score_takes(bench: Bench) -> None:
    text = " ".join(bench("vbench", "score", "--help").stdout.split())
    assert "folders of runs, zips or JSON files" in text


def test_status_says_what_each_dimension_lacks(bench: Bench, tmp_path: Path) -> None:
    env = {"BENCH_VBENCH": str(tmp_path / "none"), "BENCH_WEIGHTS": str(tmp_path / "none")}
    text = bench("vbench", "status", env=env).stdout
    assert text.count("run bench vbench setup") == 1, "one sentence for all dimensions"
    assert "for weights run bench weights fetch vbench-dino vbench-dino-code-hubconf" in text
    assert len([line for line in text.splitlines() if line.split()[:1] and line.split()[0] in DIMENSIONS]) == 16

    env["BENCH_VBENCH"] = str(MAKE(tmp_path))
    rows = {row["dimension"]: row for row in json.loads(bench("vbench", "status", "--json", env=env).stdout)}
    assert list(rows) == list(DIMENSIONS)
    assert (rows["temporal_flickering"]["environment"], rows["temporal_flickering"]["weights"]) == ("", "")
    assert rows["imaging_quality"]["weights"] == "run bench weights fetch vbench-musiq"
    assert "detectron2" in rows["color"]["environment"]
