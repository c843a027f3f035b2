"""Reference statistics of videos: the first frames of each file, prepared one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.cli import reference as command
from bench.cli.main import main
from bench.errors import AssetError, UsageError
from bench.metrics.fvd import FVD
from bench.reference.build import Order, build
from bench.reference.clips import ClipPreparation, open_clips
from bench.reference.images import Preparation
from bench.reference.statistics import Reference, load
from bench.video import encode

pytest.importorskip("av")


@pytest.fixture
def videos(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Five lossless videos of 12 frames in two folders, and their pixels (5, 12, 3, 32, 48)."""
    clips = np.random.default_rng(0).integers(0, 256, (5, 12, 3, 32, 48), dtype=np.uint8)
    for number, clip in enumerate(clips):
        path = tmp_path / "videos" / ("a" if number < 3 else "b") / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(clip, 8))
    (tmp_path / "videos" / "notes.txt").write_text("not a video")
    return tmp_path / "videos", clips


def pooled(clips: Tensor) -> Tensor:
    """(B, 2 F): mean red and mean blue of each frame."""
    means = clips.float().mean((3, 4))
    return torch.cat([means[:, :, 0], means[:, :, 2]], 1)


def made(folder: Path, frames: int = 9, **more: object) -> Reference:
    preparation = ClipPreparation("none", None)
    return build(open_clips(str(folder), frames), Order("pooled@1/none", pooled, preparation, **more))


def test_statistics_are_those_of_the_first_frames(videos: tuple[Path, np.ndarray]) -> None:
    folder, clips = videos
    found = made(folder)
    expected = pooled(torch.from_numpy(clips[:, :9])).numpy().astype(np.float64)
    np.testing.assert_allclose(found.mean, expected.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.covariance, np.cov(expected, rowvar=False), rtol=1e-4, atol=1e-5)
    assert (found.count, found.resolution) == (5, (32, 48))
    assert found.provenance["source"] == {"kind": "videos", "name": "videos", "frames": "9"}


def test_every_frame_is_prepared_as_an_image_is() -> None:
    clip = np.random.default_rng(1).integers(0, 256, (9, 32, 48, 3), dtype=np.uint8)
    found = ClipPreparation("center-bicubic", 16)("clip", clip)
    image = Preparation("center-bicubic", 16)
    np.testing.assert_array_equal(found, np.stack([image("frame", frame) for frame in clip]))


def test_damaged_and_short_videos_are_named_or_left_out(videos: tuple[Path, np.ndarray]) -> None:
    folder, clips = videos
    (folder / "b" / "9.mp4").write_bytes(encode(clips[0, :8], 8))
    with pytest.raises(AssetError, match=r"9\.mp4 cannot be decoded \(it has 8 frames, not 9\)"):
        made(folder)
    (folder / "a" / "0.mp4").write_bytes(b"not a film")
    with pytest.raises(AssetError, match=r"0\.mp4 cannot be decoded .*--skip-bad"):
        made(folder)
    kept = made(folder, skip_bad=True)
    assert kept.count == 4
    assert kept.provenance["skipped"] == {"count": 2, "first": ["a/0.mp4", "b/9.mp4"]}


def test_a_folder_without_videos_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are no videos"):
        open_clips(str(tmp_path), 9)
    with pytest.raises(UsageError, match="not a folder"):
        open_clips(str(tmp_path / "gone"), 9)


def test_what_the_command_builds_is_what_fvd_compares_with(
    videos: tuple[Path, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = videos
    asked: list[tuple[str, bool]] = []
    wanted = FVD().network_id()

    def runner(name: str, device: str, clips: bool = False) -> tuple[str, object]:
        asked.append((name, clips))
        return wanted, pooled

    monkeypatch.setattr(command, "runner", runner)
    out = tmp_path / "videos.npz"
    assert main(["reference", "build", str(folder), "--frames", "9", "--out", str(out)]) == 0
    assert asked == [("i3d", True)]
    assert FVD().reference(load(out)).covariance.shape == (18, 18)


def test_networks_of_images_and_of_clips_are_not_mixed_up(capsys: pytest.CaptureFixture[str], videos, tmp_path) -> None:
    out = str(tmp_path / "out.npz")
    assert main(["reference", "build", str(videos[0]), "--frames", "9", "--extractor", "inception", "--out", out]) == 2
    assert "inception" in capsys.readouterr().err
    with pytest.raises(UsageError, match="i3d"):
        command.runner("i3d", "cpu")
