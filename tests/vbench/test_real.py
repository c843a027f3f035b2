"""VBench itself, on clips whose score is known: where its environment is, and in one that is made (slow)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.errors import AssetError
from bench.vbench.client import Scores, Video, evaluate
from bench.vbench.environment import Environment, find
from bench.vbench.setup import setup
from bench.video import write_clips

pytest.importorskip("av")

CLIPS = np.random.default_rng(0).integers(0, 256, (4, 6, 3, 32, 48), dtype=np.uint8)
CLIPS[1] = CLIPS[1, :1]  # a still
CLIPS[2] = (np.arange(6, dtype=np.uint8) * 25)[:, None, None, None]  # brighter by 25 from frame to frame
SHORT = Path("short.mp4")


def formula(clip: NDArray[np.uint8]) -> float:
    """VBench (arXiv 2311.17982): 1 less the mean absolute difference of neighbouring frames, on a scale of 255."""
    return 1 - float(np.abs(np.diff(clip.astype(float), axis=0)).mean()) / 255


def score(folder: Path, environment: Environment) -> tuple[Scores, list[Path]]:
    manifest = write_clips(folder, CLIPS, fps=8)
    paths = [folder / clip.file for clip in manifest.clips]
    (folder / SHORT).write_bytes(paths[0].read_bytes()[:500])
    return evaluate(
        "temporal_flickering", [Video(path) for path in (*paths, folder / SHORT)], environment=environment
    ), paths


def check(folder: Path, environment: Environment) -> None:
    scores, paths = score(folder, environment)
    # VBench takes the mean of each frame in float32
    assert [scores.videos[path] for path in paths] == pytest.approx([formula(clip) for clip in CLIPS], abs=1e-6)
    assert scores.videos[paths[1]] == 1.0
    assert scores.videos[paths[2]] == pytest.approx(1 - 25 / 255, abs=1e-12)
    assert scores.mean == pytest.approx(np.mean([formula(clip) for clip in CLIPS]), abs=1e-6)
    assert list(scores.failed) == [folder / SHORT]


def test_temporal_flickering_by_vbench_itself(tmp_path: Path) -> None:
    try:
        there = find()
    except AssetError as error:
        pytest.skip(str(error))
    check(tmp_path, there)


@pytest.mark.slow  # 18 s and 70 MB of packages from the index
def test_temporal_flickering_in_an_environment_that_setup_makes(tmp_path: Path) -> None:
    made = setup(tmp_path / "vbench", "minimal", lambda _: None)
    assert [name for name, why in made.marker.dimensions.items() if not why] == ["temporal_flickering"]
    (tmp_path / "clips").mkdir()
    check(tmp_path / "clips", made)
