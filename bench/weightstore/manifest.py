"""The list of weights that metrics may ask for: source, size, hash, licence, purpose."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import unknown

MANIFEST = Path(__file__).parent / "manifest.json"


@dataclass(frozen=True)
class Entry:
    """One file of weights.

    Attributes:
        name: what metrics and users call it.
        file: where it is, below the folder of weights.
        urls: where it comes from, the first that answers.
        licence: SPDX identifier, or a few words with "unstated" if the source says nothing.
        purpose: what it is needed for.
        size: bytes; None if no public source states it.
        sha256: of the whole file; None if no public source states it.
        sha256_prefix: its first hexadecimal digits, where only those are known.
        evidence: where size and hash were read.
        groups: names that stand for several entries, such as ``vbench``.
    """

    name: str
    file: str
    urls: tuple[str, ...]
    licence: str
    purpose: str
    size: int | None = None
    sha256: str | None = None
    sha256_prefix: str = ""
    evidence: str = ""
    groups: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """What the hash must begin with; empty if nothing is known."""
        return self.sha256 or self.sha256_prefix


def read(path: Path) -> dict[str, Entry]:
    """The entries of a manifest by name, in its order."""
    listed: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["entries"]
    return {one["name"]: Entry(**(one | {key: tuple(one[key]) for key in ("urls", "groups")})) for one in listed}


@cache
def entries() -> dict[str, Entry]:
    """The entries of the manifest of this package."""
    return read(MANIFEST)


def select(names: list[str]) -> list[Entry]:
    """Entries and members of groups, each once, in the manifest's order; all if there are no names.

    Raises:
        UsageError: a name is neither an entry nor a group.
    """
    known = entries()
    groups = {group for entry in known.values() for group in entry.groups}
    for name in names:
        if name not in known and name not in groups:
            raise unknown("weights", name, {*known, *groups})
    wanted = set(names)
    return [e for e in known.values() if not wanted or e.name in wanted or wanted & set(e.groups)]
