"""Find weights by name: the file, once it is known to be the right one, or a sentence that says how to get it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bench.errors import AssetError, OutputError, unknown
from bench.weightstore import lock
from bench.weightstore.manifest import Entry, entries


def entry(name: str) -> Entry:
    """What the manifest says of a name.

    Raises:
        UsageError: there is no such entry.
    """
    known = entries()
    if name not in known:
        raise unknown("weights", name, known)
    return known[name]


def place(wanted: Entry) -> Path:
    """Where the file is, or would be."""
    return lock.folder() / wanted.file


def difference(wanted: Entry, sha256: str) -> str:
    """How a file differs from that of the entry; empty if all that is known agrees."""
    locked = lock.read(wanted.file)
    for expected in (wanted.prefix, "" if wanted.sha256 or locked is None else locked.sha256):
        if not sha256.startswith(expected):
            return f"its SHA-256 begins {sha256[:12]}, not {expected[:12]}"
    return ""


def check(wanted: Entry, sha256: str, found: Path, trust: bool = False) -> str:
    """Compare a hash with what is known of the entry; ``known``, or ``trusted`` if only this machine knows it.

    Args:
        wanted: the entry.
        sha256: of the file.
        found: the file, at its place or where the user has it.
        trust: accept it if nothing is known that it could be compared with.

    Raises:
        AssetError: it is another file, or nothing is known and it is not trusted.
    """
    if differs := difference(wanted, sha256):
        advice = "delete it and" if found == place(wanted) else "bring the right one or"
        raise AssetError(f"{found} is not {wanted.name}: {differs}; {advice} run bench weights fetch {wanted.name}")
    if not (trust or wanted.prefix or lock.read(wanted.file)):
        raise AssetError(
            f"the hash of {wanted.name} is not published, and {found} was not accepted before; if you trust it "
            f"run bench weights import {shlex.quote(str(found))} --as {wanted.name} --trust"
        )
    return "known" if wanted.sha256 else "trusted"


def find(name: str) -> Path:
    """The file of these weights.

    Raises:
        UsageError: there is no such entry.
        AssetError: the file is not here, or not the right one; the sentence says how to get it.
    """
    wanted = entry(name)
    path = place(wanted)
    if not path.is_file():
        raise AssetError(
            f"weights {name} are not here ({wanted.purpose}); run bench weights fetch {name}, or bring the file and "
            f"run bench weights import FILE"
        )
    locked = lock.read(wanted.file)
    if locked is not None and lock.unchanged(wanted.file, locked) and locked.sha256.startswith(wanted.prefix):
        return path
    sha256 = lock.digest(path)
    how = check(wanted, sha256, path)
    with suppress(OutputError):  # a folder that can only be read is hashed at every start
        lock.pin(wanted.file, sha256, how)
    return path


def present(name: str) -> bool:
    """Whether ``find`` would give the file.

    Raises:
        UsageError: there is no such entry.
    """
    entry(name)
    try:
        find(name)
    except AssetError:
        return False
    return True


def missing(names: Iterable[str]) -> tuple[str, ...]:
    """A sentence for each of these weights that is not here or not right; empty if all are.

    Raises:
        UsageError: there is no such entry.
    """
    sentences = []
    for name in names:
        try:
            find(name)
        except AssetError as error:
            sentences.append(str(error))
    return tuple(sentences)
