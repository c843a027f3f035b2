"""Videos as reference data: the first frames of every file below a folder, as one clip each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.errors import AssetError, UsageError
from bench.reference.images import Pixels, Preparation
from bench.reference.sources import Source
from bench.video import read_clip

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".gif")


def open_clips(text: str, frames: int) -> Source:
    """Clips (F, H, W, 3) of a folder of videos, in the order of the paths.

    Args:
        text: the folder.
        frames: F, from the beginning of each video.

    Raises:
        UsageError: there is no such folder, or no video in it.
    """
    path = Path(text).expanduser()
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder; --frames takes clips from a folder of videos")
    files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise UsageError(f"there are no videos in {path}; name a folder with {', '.join(SUFFIXES)} files")
    items = [(str(file), _clip(file, frames)) for file in files]
    return Source("videos", path.name, lambda: iter(items), {"frames": str(frames)}, root=f"{path}/")


def _clip(path: Path, frames: int) -> Callable[[], Pixels]:
    def read() -> Pixels:
        try:
            found = read_clip(path, frames)
        except AssetError as error:
            raise ValueError(str(error.__cause__ or error)) from error  # the builder says which, or leaves it out
        if len(found) < frames:
            raise ValueError(f"it has {len(found)} frames, not {frames}")
        return found.transpose(0, 2, 3, 1)

    return read


class ClipPreparation(Preparation):
    """The same for every frame of a clip (F, H, W, 3)."""

    def __call__(self, name: str, pixels: Pixels) -> Pixels:
        prepare = super().__call__
        return np.stack([prepare(name, frame) for frame in pixels])
