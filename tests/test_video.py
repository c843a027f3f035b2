from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.errors import AssetError, OutputError, UsageError
from bench.video import CODEC, animation, encode, read_clip, read_clips, read_manifest, strip, write_clips

av = pytest.importorskip("av")

Frames = NDArray[np.uint8]


def noise(*shape: int, seed: int = 0) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(8, 3, 64, 48), (5, 3, 33, 31), (1, 3, 16, 16), (3, 3, 2, 2)])
def test_every_pixel_comes_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    clip = noise(*shape)
    manifest = write_clips(tmp_path, clip[None], ["a prompt"], fps=8)
    read = read_clip(tmp_path / manifest.clips[0].file)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, clip)


def test_motion_and_flat_colours_come_back() -> None:
    """Prediction between frames is at work here, which noise never shows."""
    clip = np.zeros((12, 3, 40, 56), np.uint8)
    for frame in range(12):
        clip[frame, 0, frame : frame + 8, 2 * frame : 2 * frame + 8] = 255
        clip[frame, 2] = 7 * frame
    with av.open(io.BytesIO(encode(clip, 24)), "r") as file:
        frames = [frame.to_ndarray(format="rgb24").transpose(2, 0, 1) for frame in file.decode(video=0)]
    np.testing.assert_array_equal(np.stack(frames), clip)


@pytest.mark.parametrize("fps", [8, 24, 30000 / 1001])
def test_the_frame_rate_is_what_was_asked(fps: float) -> None:
    with av.open(io.BytesIO(encode(noise(4, 3, 16, 16), fps)), "r") as file:
        stream = file.streams.video[0]
        assert stream.average_rate == Fraction(fps).limit_denominator(1001)
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "gbrp", "anything else would have lost colour"


def test_the_same_clip_is_the_same_bytes() -> None:
    assert encode(noise(6, 3, 24, 24), 8) == encode(noise(6, 3, 24, 24), 8)


def test_the_manifest_says_what_the_clips_are(tmp_path: Path) -> None:
    clips = noise(2, 5, 3, 16, 24)
    write_clips(tmp_path, clips, ["../../etc/passwd", "a/b: ünïcode\n"], fps=8, first=6, seed=3)
    data = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert data["codec"] == CODEC
    assert data["fps"] == 8
    rows = [
        (clip["prompt"], clip["index"], clip["seed"], clip["frames"], clip["height"], clip["width"])
        for clip in data["clips"]
    ]
    assert rows == [("../../etc/passwd", 6, 3, 5, 16, 24), ("a/b: ünïcode\n", 7, 3, 5, 16, 24)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*(c["file"] for c in data["clips"]), "manifest.json"]
    )
    for (entry, frames), clip in zip(read_clips(tmp_path), clips, strict=True):
        assert len(Path(entry.file).stem) == 32
        np.testing.assert_array_equal(frames, clip)


def test_more_clips_are_added_and_equal_ones_are_told_apart(tmp_path: Path) -> None:
    same = np.repeat(noise(1, 3, 3, 16, 16), 2, axis=0)
    write_clips(tmp_path, same, ["a", "b"], fps=8)
    manifest = write_clips(tmp_path, same, ["a", "b"], fps=8, first=2)
    assert [clip.index for clip in manifest.clips] == [0, 1, 2, 3]
    assert len({clip.file for clip in manifest.clips}) == 4
    again = write_clips(tmp_path, same, ["a", "b"], fps=8)
    assert again == read_manifest(tmp_path)
    assert len(again.clips) == 4


def test_one_frame_rate_per_folder(tmp_path: Path) -> None:
    write_clips(tmp_path, noise(1, 3, 3, 16, 16), fps=8)
    with pytest.raises(UsageError, match="at 8 frames per second, not 24"):
        write_clips(tmp_path, noise(1, 3, 3, 16, 16), fps=24)


def test_a_failed_clip_leaves_no_manifest_and_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.video

    whole = bench.video.encode
    calls = iter([whole, lambda *_: (_ for _ in ()).throw(OutputError("disk full"))])
    monkeypatch.setattr(bench.video, "encode", lambda clip, fps: next(calls)(clip, fps))
    with pytest.raises(OutputError):
        write_clips(tmp_path, noise(2, 3, 3, 16, 16), fps=8)
    assert [path.suffix for path in tmp_path.iterdir()] == [".mp4"]
    read_clip(next(tmp_path.iterdir()))
    with pytest.raises(AssetError, match="is not there, so nothing says what the clips are"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a video at all", None])
def test_a_video_that_cannot_be_decoded_is_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(encode(noise(8, 3, 32, 32), 8)[:700] if content is None else content)
    with pytest.raises(AssetError, match="cannot be decoded as a video"):
        read_clip(path)


def test_a_missing_video_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="cannot be decoded"):
        read_clip(tmp_path / "none.mp4")


def test_a_changed_clip_is_found(tmp_path: Path) -> None:
    manifest = write_clips(tmp_path, noise(1, 3, 3, 16, 16), fps=8)
    (tmp_path / manifest.clips[0].file).write_bytes(encode(noise(3, 3, 16, 16, seed=1), 8))
    with pytest.raises(AssetError, match="is not the file that its manifest describes"):
        list(read_clips(tmp_path))


@pytest.mark.parametrize("file", ["../../x.mp4", "/etc/passwd", "a.mp4"])
def test_a_manifest_with_another_name_is_refused(tmp_path: Path, file: str) -> None:
    write_clips(tmp_path, noise(1, 3, 3, 16, 16), fps=8)
    path = tmp_path / "manifest.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["clips"][0]["file"] = file
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(AssetError, match="cannot be read"):
        read_manifest(tmp_path)


def test_other_shapes_and_types_are_refused() -> None:
    for clip in (noise(4, 16, 16, 3), noise(3, 16, 16), noise(0, 3, 16, 16)):
        with pytest.raises(ValueError, match="a clip is"):
            encode(clip, 8)
    with pytest.raises(ValueError, match="float32"):
        encode(np.zeros((2, 3, 16, 16), np.float32), 8)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="positive number of frames"):
        encode(noise(2, 3, 16, 16), 0)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make"):
        write_clips(tmp_path / "file" / "clips", noise(1, 3, 3, 16, 16), fps=8)


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left on device; free space or give another folder"):
        write_clips(tmp_path, noise(1, 3, 3, 16, 16), fps=8)
    assert list(tmp_path.iterdir()) == []


def test_animation_is_lossless_and_strip_has_the_ends() -> None:
    from PIL import Image, ImageSequence

    clip = noise(10, 3, 12, 20)
    with Image.open(io.BytesIO(animation(clip, 8))) as picture:
        frames = [np.asarray(frame.convert("RGB")).transpose(2, 0, 1) for frame in ImageSequence.Iterator(picture)]
        assert picture.info["loop"] == 0
    np.testing.assert_array_equal(np.stack(frames), clip)
    with Image.open(io.BytesIO(animation(clip, 8, scale=3))) as picture:
        assert picture.size == (60, 36)
    with Image.open(io.BytesIO(strip(clip, 4))) as picture:
        pixels = np.asarray(picture).transpose(2, 0, 1)
    np.testing.assert_array_equal(pixels, np.concatenate([clip[0], clip[3], clip[6], clip[9]], axis=2))
