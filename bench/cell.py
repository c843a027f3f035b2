"""Cells: the unit of work, of failure and of resuming.

A cell is identified by the hash of all that determines its numbers, so the same request finds its record again and any
change of code, weights, data or definition asks for a new one.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property

from pydantic import BaseModel, ConfigDict


class Cell(BaseModel):
    """suite x method(parameters) x nfe x seed, and what is measured there.

    Attributes:
        suite, method: canonical specs, see ``bench.registry.canonical``.
        samples: how many samples are generated (0 for a latency cell).
        dtype: of the network; the state is float32, or float64 when this is ``"float64"``.
        device: ``"cpu"`` or ``"cuda"``.
        suite_revision, method_revision, artifact: content hashes; ``artifact`` is empty where none is needed.
        metrics: metric ids, each carrying its definition; a latency protocol's id for a latency cell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str
    method: str
    nfe: int
    seed: int
    samples: int
    dtype: str = "float32"
    device: str = "cpu"
    suite_revision: str
    method_revision: str
    artifact: str = ""
    metrics: tuple[str, ...]

    @cached_property
    def id(self) -> str:
        """16 hex digits of the SHA-256 of the canonical JSON of all fields."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def is_latency(self) -> bool:
        """Latency cells run alone on the machine, after all others."""
        return any(metric.startswith("latency-") for metric in self.metrics)

    def __str__(self) -> str:
        return f"{self.suite} {self.method} nfe={self.nfe} seed={self.seed}"
