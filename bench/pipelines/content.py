"""What the files of a pipeline are, as one hash: the weights by their content, whatever their folder is called."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bench.errors import OutputError
from bench.pipelines.repository import INDEX, Found, is_variant
from bench.store import write_durable

CHUNK = 2**22
_CONFIGURATION = (".json", ".txt", ".model", ".py")
_VARIANT = re.compile(r"\.(fp16|bf16|fp8|fp32|non_ema)[.-]")


def files(found: Found, variant: str = "") -> list[Path]:
    """The files that determine a pipeline: the index, configurations, tokenizers, weights of the variant; sorted."""
    out = [found.folder / INDEX]
    for name, _, _ in found.components():
        inside = sorted(path for path in (found.folder / name).rglob("*") if path.is_file())
        out += [path for path in inside if path.suffix in _CONFIGURATION]
        weights = [path for path in inside if path.suffix == ".safetensors"]
        chosen = [path for path in weights if _is_chosen(path.name, variant)]
        out += chosen or weights
    return out


def _is_chosen(file: str, variant: str) -> bool:
    return is_variant(file, variant) if variant else not _VARIANT.search(file)


def content(found: Found, variant: str = "", more: tuple[Path, ...] = ()) -> str:
    """16 hex digits of the hash of all files, by their place in the folder and their content."""
    total = hashlib.sha256()
    for path in (*files(found, variant), *more):
        place = path.relative_to(found.folder) if path.is_relative_to(found.folder) else path.name
        total.update(f"{place}:{sha256(path)}\n".encode())
    return total.hexdigest()[:16]


def sha256(path: Path) -> str:
    """SHA-256 of a file; one that has the size and time of change it had before is not read again."""
    status = path.stat()
    return _sha256(path.resolve(), status.st_size, status.st_mtime_ns)


@cache
def _sha256(path: Path, size: int, modified: int) -> str:
    key, known = f"{path}|{size}|{modified}", dict(_known())
    if key not in known:
        digest = hashlib.sha256()
        for piece in _pieces(path):
            digest.update(piece)
        known[key] = digest.hexdigest()
        if size >= CHUNK:  # smaller ones are read as fast as they are looked up
            with contextlib.suppress(OutputError, OSError):  # a home that cannot be written to costs time only
                _store().parent.mkdir(parents=True, exist_ok=True)
                write_durable(_store(), json.dumps(known).encode())
    return known[key]


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece


def _store() -> Path:
    return Path.home() / ".cache" / "fewstep-bench" / "hashes.json"


def _known() -> dict[str, str]:
    try:
        found = json.loads(_store().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
