"""What is known of the files in the folder of weights: ``lock.json``, the hashes of what was accepted.

A file is hashed when it comes in. Afterwards its size and time of change stand for its hash, so that starting a run
does not read gigabytes; ``bench weights verify`` reads them.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.errors import AssetError

CHUNK = 2**22


@dataclass(frozen=True)
class Locked:
    """A file as it was accepted.

    Attributes:
        sha256: of the whole file.
        size: bytes.
        modified: nanoseconds since 1970.
        how: ``known`` (its hash is in the manifest) or ``trusted`` (accepted on first use, by the user's word).
    """

    sha256: str
    size: int
    modified: int
    how: str


def folder() -> Path:
    """``$BENCH_WEIGHTS``, or ``~/.cache/fewstep-bench/weights``."""
    named = os.environ.get("BENCH_WEIGHTS")
    return Path(named) if named else Path.home() / ".cache" / "fewstep-bench" / "weights"


def digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces.

    Raises:
        AssetError: it cannot be read.
    """
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(CHUNK):
                found.update(piece)
    except OSError as error:
        raise AssetError(f"cannot read {path}: {error.strerror}; restore it or its permissions") from error
    return found.hexdigest()


def _content() -> dict[str, Any]:
    path = folder() / "lock.json"
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AssetError(f"{path} cannot be read; delete it and run bench weights verify") from error
    return content if isinstance(content, dict) else {}


def read(file: str) -> Locked | None:
    """What is known of a file; None if it was never accepted.

    Raises:
        AssetError: the lock file is damaged.
    """
    known = _content().get(file)
    try:
        return Locked(**known) if isinstance(known, dict) else None
    except TypeError as error:
        path = folder() / "lock.json"
        raise AssetError(f"{path} cannot be read; delete it and run bench weights verify") from error


def pin(file: str, sha256: str, how: str) -> None:
    """Remember that a file, at its place, has this hash.

    Raises:
        OutputError: the folder cannot be written to.
        AssetError: the lock file is damaged.
    """
    from bench.store import write_durable  # brings numpy, which looking at the list does not need

    found = (folder() / file).stat()
    locked = Locked(sha256, found.st_size, found.st_mtime_ns, how)
    content = dict(sorted({**_content(), file: asdict(locked)}.items()))
    write_durable(folder() / "lock.json", (json.dumps(content, indent=1) + "\n").encode())


def unchanged(file: str, locked: Locked) -> bool:
    """Whether the file at its place has the size and time of change that were remembered."""
    try:
        found = (folder() / file).stat()
    except OSError:
        return False
    return (found.st_size, found.st_mtime_ns) == (locked.size, locked.modified)
