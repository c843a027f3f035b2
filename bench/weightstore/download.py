"""Fetch weights: resumed where they broke off, checked before they get their name, and only when asked.

What has arrived stays in ``FILE.part`` (its version in ``FILE.part.etag``), so that a cut connection, a full disk or an
interrupted run costs nothing but the rest. A file whose hash is wrong never appears under its own name.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from bench.errors import AssetError, BenchError, OutputError
from bench.weightstore import lock
from bench.weightstore.manifest import Entry
from bench.weightstore.store import check, difference, place

CHUNK = 2**20
TIMEOUT = 60.0
TRIES = 3
WAIT = 1.0

Tell = Callable[[int, int | None], None]
"""Called with the bytes that are here and those there will be, if that is known."""


class Cut(Exception):
    """The connection ended before the file did; trying again goes on from there."""


NETWORK = (Cut, urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError)


def offline() -> str:
    """The variable that forbids the network; empty if none does."""
    for name in ("BENCH_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(name, "").lower() in ("1", "true", "yes", "on"):
            return name
    return ""


def fetch(wanted: Entry, trust: bool = False, tell: Tell = lambda done, total: None) -> Path:
    """Bring one file of weights here, unless it is here already.

    Args:
        wanted: the entry.
        trust: accept a file whose hash nobody has published, and remember its hash.
        tell: told how far it is.

    Raises:
        AssetError: the network is switched off, the file is not at its address, the connection broke, or the file is
            not the right one.
        OutputError: the folder cannot be written to, is full, or another process is fetching this file.
    """
    path = place(wanted)
    if path.is_file():
        accept(wanted, path, trust)
        return path
    switch = offline()
    if switch:
        raise AssetError(f"{wanted.name} is not here and {switch} is set; unset it, or run bench weights import FILE")
    if not (trust or wanted.prefix or lock.read(wanted.file)):
        raise AssetError(
            f"nobody has published the hash of {wanted.name}; to accept what {wanted.urls[0]} gives now, and keep its "
            f"hash for later, run bench weights fetch {wanted.name} --trust"
        )
    part = path.with_name(path.name + ".part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            _alone(file, wanted)
            _from_any(wanted, file, part, tell)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _full(wanted, part, error) from error
    accept(wanted, part, trust)
    return path


def accept(wanted: Entry, found: Path, trust: bool) -> None:
    """Give a file its place if its hash is right, and remember the hash.

    Args:
        wanted: the entry.
        found: the file; moved to its place if it is right, deleted if it is another and not at its place.
        trust: accept a hash that nobody knows.

    Raises:
        AssetError: the hash is another, or unknown and not trusted.
        OutputError: the folder cannot be written to.
    """
    sha256 = lock.digest(found)
    if found != place(wanted) and (differs := difference(wanted, sha256)):
        _forget(found)
        raise AssetError(f"what came for {wanted.name} is another file: {differs}; it was not kept")
    how = check(wanted, sha256, found, trust)
    try:
        os.replace(found, place(wanted))
    except OSError as error:
        raise _full(wanted, found, error) from error
    _forget(place(wanted).with_name(place(wanted).name + ".part"))
    lock.pin(wanted.file, sha256, how)


def _forget(part: Path) -> None:
    for path in (part, _etag(part)):
        with contextlib.suppress(OSError):
            path.unlink()


def _etag(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _alone(file: BinaryIO, wanted: Entry) -> None:
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(f"another process is fetching {wanted.name}; wait for it") from error


def _full(wanted: Entry, part: Path, error: OSError) -> BenchError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(
            f"no space left for {wanted.name} in {part.parent}; what has come is kept: free space and run again, or "
            f"set BENCH_WEIGHTS to another folder"
        )
    reason = error.strerror or type(error).__name__
    return OutputError(f"cannot write {part}: {reason}; set BENCH_WEIGHTS to a folder that can be written to")


def _from_any(wanted: Entry, file: BinaryIO, part: Path, tell: Tell) -> None:
    for number, url in enumerate(wanted.urls, 1):
        try:
            _persist(wanted, url, file, part, tell)
            return
        except AssetError:
            if number == len(wanted.urls):
                raise


def _persist(wanted: Entry, url: str, file: BinaryIO, part: Path, tell: Tell) -> None:
    tries = 0
    while True:
        before = file.seek(0, os.SEEK_END)
        try:
            _once(wanted, url, file, part, tell)
            return
        except NETWORK as error:
            if isinstance(error, urllib.error.HTTPError) and not _busy(error):
                raise AssetError(_refused(wanted, url, error)) from error
            here = file.seek(0, os.SEEK_END)
            tries = 1 if here > before else tries + 1
            if tries >= TRIES:
                reason = getattr(error, "reason", None) or str(error) or type(error).__name__
                raise AssetError(
                    f"the connection to {url} failed after {here:,} bytes ({reason}); what has come is kept: run "
                    f"bench weights fetch {wanted.name} again to go on, or bench weights import FILE"
                ) from error
            time.sleep(WAIT * tries)


def _busy(error: urllib.error.HTTPError) -> bool:
    """Whether the server may answer when it is asked again."""
    return error.code >= 500 or error.code == http.HTTPStatus.TOO_MANY_REQUESTS


def _refused(wanted: Entry, url: str, error: urllib.error.HTTPError) -> str:
    what = "is not there any more" if error.code in (404, 410) else "is refused"
    return (
        f"{wanted.name} {what} (HTTP {error.code}, {url}); get the file elsewhere and run bench weights import FILE, "
        f"which knows it by its hash"
    )


def _once(wanted: Entry, url: str, file: BinaryIO, part: Path, tell: Tell) -> None:
    start = file.seek(0, os.SEEK_END)
    request = urllib.request.Request(url, headers={"User-Agent": "fewstep-bench", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
        with contextlib.suppress(OSError):
            request.add_header("If-Range", _etag(part).read_text(encoding="ascii"))
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            if error.headers.get("Content-Range") != f"bytes */{start}":
                file.truncate(0)
                raise Cut("it begins anew") from error
            return  # all of it was here
        raise
    with response:
        _checked(wanted, url, response)
        if start and response.status != http.client.PARTIAL_CONTENT:
            file.truncate(0)  # the server gives the whole file, or another version of it
            start = 0
        _receive(wanted, file, part, response, tell)


def _checked(wanted: Entry, url: str, response: http.client.HTTPResponse) -> None:
    final = str(getattr(response, "url", url))
    if url.startswith("https:") and not final.startswith("https:"):
        raise AssetError(f"{url} leads to an unprotected address ({final}); get the file elsewhere and import it")
    if response.headers.get_content_type() == "text/html":
        raise AssetError(f"{url} gives a web page, not {wanted.name}; open it in a browser and import what you get")


def _receive(wanted: Entry, file: BinaryIO, part: Path, response: http.client.HTTPResponse, tell: Tell) -> None:
    here = file.seek(0, os.SEEK_END)
    length = response.headers.get("Content-Length")
    total = here + int(length) if length and length.isdigit() else None
    if total is not None and wanted.size is not None and total != wanted.size:
        raise AssetError(
            f"{response.url} offers {total:,} bytes for {wanted.name}, which has {wanted.size:,}; it is another file: "
            f"get the right one elsewhere and import it"
        )
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - here > free:
        raise OSError(errno.ENOSPC, "too little space")
    tag = response.headers.get("ETag", "")
    if tag.startswith('"'):
        _etag(part).write_text(tag, encoding="ascii")
    while piece := response.read(CHUNK):
        file.write(piece)
        here += len(piece)
        tell(here, total)
    if total is not None and here < total:
        raise Cut(f"{total - here:,} bytes are missing")
