"""Clips on disk without loss: one MP4 per clip under a hash name, and a manifest that says what each of them is.

::

    <folder>/<32 hex digits>.mp4
    <folder>/manifest.json        prompt, index, seed, frames, size, SHA-256 of every file; frame rate; codec settings

H.264 in RGB at quantiser 0 (x264's lossless mode) is decoded to the very same pixels by both of VBench's readers: by
OpenCV 4.11 at every size tried, by decord 0.6 too, but for widths such as 16 and 48, which it cannot read from any
codec. 4:2:0 video is not lossless at any quantiser. A prompt is never part of a path.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import AssetError, OutputError, UsageError
from bench.store import write_durable

Frames = NDArray[np.uint8]

MANIFEST = "manifest.json"
CODEC = {"codec": "libx264rgb", "pixels": "rgb24", "container": "mp4", "qp": "0", "preset": "veryfast", "threads": "1"}
"""The settings of every clip that is written; they are also in the manifest."""


class Clip(BaseModel):
    """One file of a manifest.

    Attributes:
        file: name in the folder.
        sha256: of the file.
        index, seed: which sample of which run it is; None if unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(pattern=r"^[0-9a-f]{32}\.mp4$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    prompt: str = ""
    index: int | None = None
    seed: int | None = None
    frames: int
    height: int
    width: int


class Manifest(BaseModel):
    """What is in a folder of clips."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fps: float
    codec: dict[str, str]
    clips: tuple[Clip, ...]


def problem() -> str:
    """Why no clip can be written or read here, and what to do; empty if clips can. Nothing is imported."""
    return "" if find_spec("av") else "clips are written and read by PyAV; run pip install 'fewstep-bench[video]'"


def _av() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise UsageError(problem() or f"PyAV cannot be imported ({error}); install it again") from error
    return av


def _checked(clip: Frames) -> Frames:
    if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[1] != 3 or 0 in clip.shape:
        raise ValueError(f"a clip is (F, 3, H, W) uint8, not {clip.shape} {clip.dtype}")
    return np.ascontiguousarray(clip.transpose(0, 2, 3, 1))


def encode(clip: Frames, fps: float) -> bytes:
    """A clip (F, 3, H, W) uint8 as a lossless MP4; the same bytes for the same clip and version of x264.

    Raises:
        ValueError: it has another shape or type.
        UsageError: PyAV is not installed, or the frame rate is not positive.
        OutputError: this build of PyAV has no x264.
    """
    av = _av()
    frames = _checked(clip)
    if not fps > 0:
        raise UsageError(f"a clip needs a positive number of frames per second, not {fps:g}")
    buffer = io.BytesIO()
    try:
        with av.open(buffer, "w", format=CODEC["container"]) as file:
            options = {"qp": CODEC["qp"], "preset": CODEC["preset"]}
            rate = Fraction(fps).limit_denominator(1001)
            stream = file.add_stream(CODEC["codec"], rate=rate, options=options)
            stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], CODEC["pixels"]
            stream.codec_context.thread_count = int(CODEC["threads"])
            for frame in frames:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            file.mux(stream.encode())
    except (av.FFmpegError, ValueError) as error:
        advice = "install a PyAV that was built with x264"
        raise OutputError(f"cannot encode a clip with {CODEC['codec']} ({error}); {advice}") from error
    return buffer.getvalue()


def read_clip(path: Path, limit: int | None = None) -> Frames:
    """The frames (F, 3, H, W) uint8 of any video file, in RGB.

    Args:
        limit: read so many frames from the beginning, or as many as there are; all if None.

    Raises:
        UsageError: PyAV is not installed.
        AssetError: the file is not there, or cannot be decoded.
    """
    av = _av()
    try:
        with av.open(str(path)) as file:
            frames = [frame.to_ndarray(format="rgb24") for frame in islice(file.decode(video=0), limit)]
    except (av.FFmpegError, OSError, IndexError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it has no video"
        raise AssetError(f"{path} cannot be decoded as a video ({reason}); write it again or leave it out") from error
    if not frames:
        raise AssetError(f"{path} has no frame that can be decoded; write it again or leave it out")
    return np.ascontiguousarray(np.stack(frames).transpose(0, 3, 1, 2), dtype=np.uint8)


def _name(clip: Frames, description: dict[str, Any]) -> str:
    found = hashlib.sha256(json.dumps([description, clip.shape], sort_keys=True).encode())
    found.update(np.ascontiguousarray(clip).tobytes())
    return f"{found.hexdigest()[:32]}.mp4"


def _write(path: Path, data: bytes) -> None:
    """All of a file or nothing; the manifest, which has its hash, is what is flushed to the disk."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror}; free space or give another folder") from error


def write_clips(
    folder: Path,
    clips: Frames,
    prompts: Sequence[str] | None = None,
    *,
    fps: float,
    first: int = 0,
    seed: int | None = None,
) -> Manifest:
    """Write clips (B, F, 3, H, W) uint8, each whole or not at all, and then the manifest; clips that are there stay.

    Args:
        folder: made if it is not there.
        prompts: B texts.
        fps: frames per second; the same for all clips of a folder.
        first: index of the first clip.

    Raises:
        ValueError: clips of another shape or type, or another number of prompts.
        UsageError: PyAV is not installed, or the folder holds clips at another frame rate.
        OutputError: the folder cannot be written to.
        AssetError: the manifest that is there cannot be read.
    """
    if prompts is not None and len(prompts) != len(clips):
        raise ValueError(f"{len(clips)} clips have {len(prompts)} prompts")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}; give another folder") from error
    before = read_manifest(folder).clips if (folder / MANIFEST).exists() else ()
    if before and read_manifest(folder).fps != fps:
        raise UsageError(f"{folder} holds clips at {read_manifest(folder).fps:g} frames per second, not {fps:g}")
    written = {clip.file: clip for clip in before}
    for place, clip in enumerate(clips):
        prompt, data = prompts[place] if prompts else "", encode(clip, fps)
        name = _name(clip, {"prompt": prompt, "index": first + place, "seed": seed, "fps": fps})
        _write(folder / name, data)
        frames, _, height, width = clip.shape
        written[name] = Clip(
            file=name,
            sha256=hashlib.sha256(data).hexdigest(),
            prompt=prompt,
            index=first + place,
            seed=seed,
            frames=frames,
            height=height,
            width=width,
        )
    manifest = Manifest(fps=fps, codec=CODEC, clips=tuple(written.values()))
    write_durable(folder / MANIFEST, (manifest.model_dump_json(indent=1) + "\n").encode())
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder.

    Raises:
        AssetError: there is none, or it is not one.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = "is not there" if not path.exists() else "cannot be read"
        raise AssetError(f"{path} {reason}, so nothing says what the clips are; write them again") from error


def read_clips(folder: Path) -> Iterator[tuple[Clip, Frames]]:
    """The clips of a folder, one after the other, each checked against its hash.

    Raises:
        AssetError: a file is missing, cannot be decoded, or is not what the manifest says.
    """
    for clip in read_manifest(folder).clips:
        path = folder / clip.file
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise AssetError(f"cannot read {path}: {error.strerror}; write the clips again") from error
        if found != clip.sha256:
            raise AssetError(f"{path} is not the file that its manifest describes; write the clips again")
        yield clip, read_clip(path)


def animation(clip: Frames, fps: float, scale: int = 1) -> bytes:
    """A clip (F, 3, H, W) uint8 as a lossless animated WebP for a page; pixels enlarged ``scale`` times."""
    from PIL import Image

    frames = _checked(clip).repeat(scale, 1).repeat(scale, 2)
    first, *rest = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    options = {"lossless": True, "duration": round(1000 / fps), "loop": 0}
    first.save(buffer, "WEBP", save_all=True, append_images=rest, **options)
    return buffer.getvalue()


def strip(clip: Frames, frames: int = 8) -> bytes:
    """Evenly spaced frames of a clip (F, 3, H, W) uint8 side by side, as a PNG."""
    from PIL import Image

    pictures = _checked(clip)
    chosen = np.linspace(0, len(pictures) - 1, min(frames, len(pictures))).round().astype(int)
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(list(pictures[chosen]), axis=1)).save(buffer, "PNG")
    return buffer.getvalue()
