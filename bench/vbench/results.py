"""Raw scores from files: what VBench writes, the zips that are sent to its leaderboard, and records of this program.

VBench writes ``{"temporal_flickering": [mean, [{"video_path": ..., "video_results": ...}, ...]]}``; a zip for the
leaderboard holds one or more such files, at its top or one folder down. Nothing is ever unpacked to the disk.

Where ``bench vbench evaluate`` could not score a video, the mean is ``null``, as are that video's results, and ``why``
stands beside them: nobody takes a mean over the others for one over all.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.vbench.dimensions import DIMENSIONS

if TYPE_CHECKING:
    from bench.vbench.client import Scores

MEMBERS = 1000
MEMBER_BYTES = 256 * 2**20
TOTAL_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Raw:
    """Raw scores by dimension, and what they are of.

    Attributes:
        unscored: why a dimension has no score although it was computed.
    """

    name: str
    scores: dict[str, float]
    unscored: dict[str, str] = field(default_factory=dict)


def as_official(scores: list[Scores]) -> dict[str, Any]:
    """In the form of VBench's own result files; without a mean where a video has no score."""
    found = {}
    for each in scores:
        rows: list[dict[str, Any]] = [
            {"video_path": path.name, "video_results": score} for path, score in each.videos.items()
        ]
        rows += [{"video_path": path.name, "video_results": None, "why": why} for path, why in each.failed.items()]
        found[each.dimension] = [None if each.failed else each.mean, rows]
    return found


def _unscored(value: Any) -> str:
    """What is missing in ``[null, [...]]`` as ``as_official`` writes it; empty if it is something else."""
    rows = value[1] if isinstance(value, list) and len(value) == 2 and value[0] is None else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return ""
    missing = [row for row in rows if row.get("video_results") is None]
    named = "".join(f", first {row.get('video_path')}: {row.get('why')}" for row in missing[:1])
    return f"{len(missing)} of {len(rows)} videos could not be scored{named}" if missing else ""


def _mean(path: str, key: str, value: Any) -> float | str:
    """The mean in ``[mean, [...]]``, or a bare number; a text that says why there is no mean."""
    why = _unscored(value)
    if why:
        return why
    first = value[0] if isinstance(value, list) and value else value
    if isinstance(first, bool) or not isinstance(first, int | float):
        raise UsageError(f"{path}: {key} is not a score; VBench writes [mean, [score of each video, ...]]")
    return float(first)


def _scores(path: str, data: bytes) -> dict[str, float | str] | None:
    """The scores in a file, or why there are none; None if it is something else, such as VBench's list of prompts."""
    try:
        content = json.loads(data)
    except ValueError as error:
        raise UsageError(f"{path} is not JSON; export the results of VBench again") from error
    if not isinstance(content, dict):
        return None
    return {str(key).replace(" ", "_"): _mean(path, key, value) for key, value in content.items()}


def _merge(found: Raw, path: str, new: Mapping[str, float | str]) -> None:
    for key, value in new.items():
        if key not in DIMENSIONS:
            raise UsageError(f"{path}: {key} is not one of the 16 dimensions of VBench {', '.join(DIMENSIONS)}")
        if isinstance(value, str):
            found.unscored[key] = value
        elif found.scores.setdefault(key, value) != value:
            other = found.scores[key]
            raise UsageError(f"{path}: {key} is {value:g} here and {other:g} in another file; keep one of them")


def _members(archive: zipfile.ZipFile, path: Path) -> Iterator[zipfile.ZipInfo]:
    """The result files of a zip, once it is known to hold nothing that it should not."""
    infos = archive.infolist()
    if len(infos) > MEMBERS or sum(info.file_size for info in infos) > TOTAL_BYTES:
        limits = f"{MEMBERS} files and {TOTAL_BYTES // 2**20} MB"
        raise UsageError(f"{path} is larger than results of VBench are ({limits}); give the result files only")
    for info in infos:
        place = PurePosixPath(info.filename.replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts or ":" in info.filename:
            raise UsageError(f"{path} holds {info.filename!r}, a path that leads out of it; it is not read")
        hidden = any(part.startswith((".", "__")) for part in place.parts)
        if not info.is_dir() and not hidden and place.suffix == ".json":
            yield info


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    try:
        with archive.open(info) as file:
            data = file.read(MEMBER_BYTES + 1)
    except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UsageError(f"{path}: {info.filename} cannot be read ({error}); pack the results again") from error
    if len(data) > MEMBER_BYTES:
        raise UsageError(f"{path}: {info.filename} is larger than {MEMBER_BYTES // 2**20} MB; it is not read")
    return data


def read_zip(path: Path) -> Raw:
    """Scores from a zip as it is sent to the leaderboard.

    Raises:
        UsageError: it is not a zip, is too large, holds paths that lead out of it, or no scores.
    """
    found = Raw(path.stem, {})
    try:
        with zipfile.ZipFile(path) as archive:
            for info in _members(archive, path):
                where = f"{path}: {info.filename}"
                _merge(found, where, _scores(where, _content(archive, info, path)) or {})
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} cannot be read as a zip ({error}); pack the results again") from error
    if not (found.scores or found.unscored):
        raise UsageError(f"{path} holds no *_eval_results.json of VBench")
    return found


def read_json(path: Path) -> Raw:
    """Scores from one file of VBench.

    Raises:
        UsageError: it cannot be read, or holds no scores.
    """
    try:
        if path.stat().st_size > MEMBER_BYTES:
            raise UsageError(f"{path} is larger than {MEMBER_BYTES // 2**20} MB; results of VBench are not")
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    scores = _scores(str(path), data)
    if not scores:
        raise UsageError(f"{path} holds no scores of VBench; give its *_eval_results.json")
    found = Raw(path.stem.removesuffix("_eval_results"), {})
    _merge(found, str(path), scores)
    return found


def read_file(path: Path) -> Raw:
    """Scores from a zip or a JSON file.

    Raises:
        UsageError: as ``read_zip`` and ``read_json``.
    """
    return read_zip(path) if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path) else read_json(path)


def read_records(out: Path) -> list[Raw]:
    """Scores from the records of a folder, one row per suite, method, budget and seed.

    Raises:
        OutputError: a record cannot be read.
        UsageError: no record has a score of VBench.
    """
    from bench.spec import parse
    from bench.store import current, read_records

    rows: dict[str, dict[str, float]] = {}
    for record in current(read_records(out).values()):
        cell = record.cell
        for identifier, measured in record.metrics.items():
            spec = parse(identifier.partition(":")[0])
            if spec.name == "vbench":
                name = dict(spec.params).get("dimension", "temporal_flickering")
                key = f"{cell.suite} {cell.method} nfe={cell.nfe} seed={cell.seed} n={cell.samples}"
                rows.setdefault(key, {})[name] = measured.value
    if not rows:
        raise UsageError(f"{out} has no record with a score of VBench; run with --metrics vbench")
    return [Raw(name, scores) for name, scores in rows.items()]


def read(path: Path) -> list[Raw]:
    """Scores from a folder of records, a zip or a JSON file.

    Raises:
        UsageError: there is nothing of the kind.
        OutputError: a record cannot be read.
    """
    if not path.exists():
        raise UsageError(f"{path} is not there; give a folder of results, a zip or a JSON file of VBench")
    return read_records(path) if path.is_dir() else [read_file(path)]
