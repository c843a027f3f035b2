"""VBench's own environment: where it is, what it can run, and the sentence for when it is not there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import AssetError, BenchError, ExitCode
from bench.vbench.dimensions import VERSION, Dimension

Kind = Literal["minimal", "full"]

MARKER = "bench-vbench.json"


class VBenchError(BenchError):
    """VBench did not give the numbers it was asked for; the sentence says why."""

    exit_code = ExitCode.CELL_FAILED


class Marker(BaseModel):
    """What a finished environment says of itself, in ``bench-vbench.json``.

    Attributes:
        kind: ``minimal`` is for temporal_flickering only.
        lock: SHA-256 of the list of packages it was made from.
        dimensions: why each of the 16 cannot be imported; empty if it can.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vbench: str
    kind: Kind
    lock: str
    python: str
    dimensions: dict[str, str]


@dataclass(frozen=True)
class Environment:
    """A finished environment."""

    path: Path
    marker: Marker

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin" / "python"

    def problem(self, dimension: Dimension) -> str:
        """Why a dimension cannot run here whatever its weights, and what to do; empty if it can."""
        reason = self.marker.dimensions.get(dimension.name, "it is not listed")
        if reason and self.marker.kind == "minimal":
            return f"VBench's environment {self.path} is a minimal one, for temporal_flickering; run bench vbench setup"
        if reason and dimension.detectron2:
            return (
                "this dimension needs detectron2, which is on no package index; build it as its authors say, "
                f"into {self.path}, and run bench vbench setup"
            )
        if reason:
            return f"{dimension.name} cannot be imported in {self.path} ({reason}); run bench vbench setup"
        return ""

    @property
    def vocabulary(self) -> Path | None:
        """The vocabulary of CLIP's tokenizer: openai-clip has it, and VBench would download it again for ViCLIP."""
        return next(self.path.glob("lib/python3.*/site-packages/clip/bpe_simple_vocab_16e6.txt.gz"), None)


def location() -> Path:
    """``$BENCH_VBENCH``, or ``~/.cache/fewstep-bench/vbench-0.1.5``."""
    named = os.environ.get("BENCH_VBENCH")
    return Path(named) if named else Path.home() / ".cache" / "fewstep-bench" / f"vbench-{VERSION}"


def find(path: Path | None = None) -> Environment:
    """The environment at a place, by default the usual one.

    Raises:
        AssetError: there is none, or it was not finished.
    """
    place = location() if path is None else path
    marker = place / MARKER
    advice = "run bench vbench setup (or set BENCH_VBENCH to where it is)"
    if not marker.is_file() or not (place / "bin" / "python").exists():
        raise AssetError(f"VBench's environment is not at {place}; {advice}")
    try:
        found = Marker.model_validate(json.loads(marker.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise AssetError(f"{marker} cannot be read; {advice}") from error
    if found.vbench != VERSION:
        raise AssetError(f"{place} has VBench {found.vbench}, not {VERSION}; {advice}")
    return Environment(place, found)


def problem(dimension: Dimension) -> str:
    """Why a dimension cannot run on this machine, weights apart, and what to do; empty if it can."""
    try:
        return find().problem(dimension)
    except AssetError as error:
        return str(error)
