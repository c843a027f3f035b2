"""One dimension of VBench 0.1.5, computed by VBench itself in an environment of its own.

Clips are written without loss to a temporary folder, one batch after the other, and scored when all are there; the
metrics of several dimensions share them. Memory holds the names of the folders only. What is scored are clips of this
suite's own prompts: the numbers of the public leaderboard are made from VBench's prompts, five clips each.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, field_validator

from bench.batch import Batch, Lacking
from bench.errors import OutputError
from bench.info import Info, Paper
from bench.metrics._intervals import around, standard_error
from bench.metrics.base import Estimate, Metric, Space, Statistics
from bench.vbench.dimensions import VERSION, dimension

INFO = Info(
    summary="One of the 16 dimensions of VBench 0.1.5 on generated clips, by VBench's own code.",
    papers=(
        Paper(
            title="VBench: Comprehensive Benchmark Suite for Video Generative Models",
            authors="Ziqi Huang and Yinan He and Jiashuo Yu and Fan Zhang and Chenyang Si and Ziwei Liu",
            year=2023,
            arxiv="2311.17982",
            code="Vchitect/VBench",
        ),
    ),
    requires=("clips",),
)


class Folder:
    """A temporary folder of clips with their manifest, removed when nothing refers to it any more."""

    def __init__(self, batch: Batch, fps: float) -> None:
        from bench.video import write_clips

        if batch.clips is None:
            raise Lacking("vbench needs clips, which the suite does not give")
        try:
            self.path = Path(tempfile.mkdtemp(prefix="bench-clips-"))
        except OSError as error:
            raise OutputError(f"cannot make a temporary folder: {error.strerror}; free space or set TMPDIR") from error
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
        write_clips(self.path, batch.clips.cpu().numpy(), batch.prompts, fps=fps)


@dataclass(frozen=True, eq=False)
class Clips(Statistics):
    """Folders of clips, in the order of the samples."""

    folders: tuple[Folder, ...]

    def __add__(self, other: Self) -> Self:
        return type(self)(self.folders + other.folders)

    def __iter__(self) -> Iterator[tuple[Path, str]]:
        """File and prompt of each clip."""
        from bench.video import read_manifest

        for folder in self.folders:
            for clip in read_manifest(folder.path).clips:
                yield folder.path / clip.file, clip.prompt


class VBench(Metric[Clips]):
    """The raw score of a dimension, at most 1, higher is better; not normalised, see ``bench vbench score``.

    The value is VBench's own mean; the interval is for the mean over clips. A clip that cannot be scored ends the
    metric with a sentence, as a mean without it would be of other samples.

    Args:
        dimension: such as ``temporal_flickering``.
        fps: frames per second the clips are written at; ``dynamic_degree`` looks at every (fps / 8)-th frame.
        device: ``cpu`` or ``cuda``; numbers may differ in the last digits.
    """

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    space: ClassVar[Space] = "clips"
    needs_reference: ClassVar[bool] = False

    dimension: str = "temporal_flickering"
    fps: float = Field(default=8.0, gt=0, le=240)
    device: Literal["cpu", "cuda"] = "cpu"

    @property
    def label(self) -> str:  # type: ignore[override]  # another one for each dimension
        """The dimension's name, such as ``VBench temporal flickering``."""
        return f"VBench {self.dimension.replace('_', ' ')}"

    @field_validator("dimension")
    @classmethod
    def _known(cls, value: str) -> str:
        return dimension(value).name

    def network_id(self) -> str:
        """``vbench-0.1.5``, and a hash of the weights if there are any."""
        from bench.weightstore.store import entry

        names = self.weights()
        if not names:
            return f"vbench-{VERSION}"
        known = [[name, entry(name).prefix] for name in names]
        return f"vbench-{VERSION}@{hashlib.sha256(json.dumps(known).encode()).hexdigest()[:8]}"

    def weights(self) -> tuple[str, ...]:
        return dimension(self.dimension).weights

    def problem(self) -> str:
        """Why VBench cannot compute this dimension on this machine, weights apart; empty if it can."""
        from bench.vbench.environment import problem
        from bench.video import problem as cannot_write

        return "; ".join(filter(None, (cannot_write(), problem(dimension(self.dimension)))))

    def statistics(self, batch: Batch) -> Clips:
        key = f"clips/fps={self.fps:g}"
        if key not in batch.extracted:
            batch.extracted[key] = Folder(batch, self.fps)
        return Clips((batch.extracted[key],))

    def value(self, statistics: Clips, reference: Clips | None) -> Estimate:
        from bench.vbench.client import Video, evaluate
        from bench.vbench.environment import VBenchError

        videos = [Video(path, prompt) for path, prompt in statistics]
        scores = evaluate(self.dimension, videos, device=self.device)
        if scores.failed:
            path, reason = next(iter(scores.failed.items()))
            number = next(i for i, video in enumerate(videos) if video.path == path)
            count = f"{len(scores.failed)} of {len(videos)} clips"
            raise VBenchError(f"VBench cannot score {count} in {self.dimension}; clip {number}: {reason}")
        each = np.array([scores.videos[video.path] for video in videos])
        influence = each - each.mean()
        low, high = around(scores.mean, standard_error(influence), low=dimension(self.dimension).lowest, high=1.0)
        detail = {"normalised": dimension(self.dimension).normalised(scores.mean)}
        return Estimate(scores.mean, low, high, "normal, over clips", detail, influence)
