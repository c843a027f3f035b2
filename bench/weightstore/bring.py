"""Weights that were brought by hand: known by their hash, whatever their name."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from bench.errors import AssetError, OutputError, UsageError
from bench.weightstore import lock
from bench.weightstore.download import accept
from bench.weightstore.manifest import Entry, entries
from bench.weightstore.store import check, entry, place


def recognise(path: Path, sha256: str) -> Entry:
    """The entry that a hash belongs to.

    Raises:
        AssetError: no entry has it.
    """
    for known in entries().values():
        locked = lock.read(known.file)
        if (known.prefix and sha256.startswith(known.prefix)) or (locked and locked.sha256 == sha256):
            return known
    named = [known.name for known in entries().values() if Path(known.file).name == path.name and not known.prefix]
    advice = f"if you trust it as {named[0]}, add --as {named[0]} --trust" if named else "it may be truncated or newer"
    raise AssetError(f"{path} (SHA-256 {sha256[:12]}...) is none of the files of bench weights list; {advice}")


def bring(path: Path, name: str = "", trust: bool = False) -> Entry:
    """Copy a file to its place among the weights.

    Args:
        path: the file, under any name.
        name: of the entry it must be; recognised by its hash if empty.
        trust: accept it for an entry whose hash nobody has published.

    Raises:
        UsageError: there is no such file or entry.
        AssetError: it is none of the files of the manifest, or not the one that was named.
        OutputError: it cannot be copied.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}; name the file of weights that you have")
    sha256 = lock.digest(path)
    wanted = entry(name) if name else recognise(path, sha256)
    check(wanted, sha256, path, trust)  # before gigabytes are copied, and in words about the user's own file
    target = place(wanted)
    if target.exists() and target.samefile(path):
        accept(wanted, target, trust)
        return wanted
    copy = target.with_name(f".{target.name}.import")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        accept(wanted, copy, trust)
    except OSError as error:
        reason = f"cannot copy {path} to {target}: {error.strerror}; free space or set BENCH_WEIGHTS"
        raise OutputError(reason) from error
    finally:
        with contextlib.suppress(OSError):
            copy.unlink()
    return wanted
