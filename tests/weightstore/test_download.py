"""Fetching from a real server that cuts connections, changes its mind, or gives the wrong file."""

from __future__ import annotations

import errno
import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.errors import AssetError, OutputError
from bench.weightstore import download, lock
from bench.weightstore.download import fetch
from bench.weightstore.store import find, place, present

DATA = bytes(range(256)) * 4096  # what the server gives, 1 MiB
SHA = hashlib.sha256(DATA).hexdigest()


def leftovers(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_file_comes_whole_and_is_found(folder, server, known) -> None:
    told = []
    path = fetch(known["sure"], tell=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == DATA
    assert told[-1] == (len(DATA), len(DATA))
    assert find("sure") == path and present("sure")
    assert leftovers(folder) == ["deep/sure.bin", "lock.json"]
    assert lock.read("deep/sure.bin").how == "known"


def test_a_file_that_is_here_is_not_fetched_again(folder, server, known) -> None:
    fetch(known["sure"])
    fetch(known["sure"])
    assert len(server.asked) == 1


def test_a_cut_connection_goes_on_where_it_broke(folder, server, known) -> None:
    server.cut_after = [100_000, 300_000]
    assert fetch(known["sure"]).read_bytes() == DATA
    assert server.asked == [None, "bytes=100000-", "bytes=400000-"]


def test_a_connection_that_stays_dead_keeps_what_came(folder, server, known) -> None:
    server.cut_after = [100_000, 0, 0, 0]
    with pytest.raises(
        AssetError, match=r"failed after 100,000 bytes .* what has come is kept: run bench weights fetch"
    ):
        fetch(known["sure"])
    assert not place(known["sure"]).exists()
    assert (folder / "deep/sure.bin.part").stat().st_size == 100_000
    server.cut_after = []
    assert fetch(known["sure"]).read_bytes() == DATA
    assert server.asked[-1] == "bytes=100000-"


def test_a_file_that_changed_meanwhile_begins_anew(folder, server, known) -> None:
    server.cut_after = [1000, 0, 0]
    server.data = DATA[::-1]
    with pytest.raises(AssetError):
        fetch(known["sure"])
    server.data, server.etag, server.cut_after = DATA, '"two"', []
    assert fetch(known["sure"]).read_bytes() == DATA


def test_a_server_without_ranges(folder, server, known) -> None:
    server.ranges, server.cut_after = False, [5000]
    assert fetch(known["sure"]).read_bytes() == DATA


def test_what_was_complete_already_is_only_checked(folder, server, known) -> None:
    part = folder / "deep/sure.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA)
    assert fetch(known["sure"]).read_bytes() == DATA


def test_more_than_there_is_begins_anew(folder, server, known) -> None:
    part = folder / "deep/sure.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA + b"rest of another file")
    assert fetch(known["sure"]).read_bytes() == DATA


def test_the_wrong_file_never_gets_the_name(folder, server, known) -> None:
    server.data = DATA[:-1] + b"x"
    with pytest.raises(AssetError, match=r"what came for sure is another file: .* not kept"):
        fetch(known["sure"])
    assert leftovers(folder) == []


def test_a_file_of_another_size_is_refused_before_it_comes(folder, server, known) -> None:
    server.data = DATA + b"x"
    with pytest.raises(AssetError, match=r"offers 1,048,577 bytes for sure, which has 1,048,576"):
        fetch(known["sure"])


@pytest.mark.parametrize(("status", "what"), [(404, "is not there any more"), (403, "is refused")])
def test_refusals(folder, server, known, status: int, what: str) -> None:
    server.status = status
    with pytest.raises(AssetError, match=rf"sure {what} \(HTTP {status}.*bench weights import FILE"):
        fetch(known["sure"])
    assert len(server.asked) == 1


@pytest.mark.parametrize(("status", "reason"), [(503, "Service Unavailable"), (429, "Too Many Requests")])
def test_a_server_that_is_busy_is_asked_again(folder, server, known, status: int, reason: str) -> None:
    server.cut_after = [1000]
    server.status_after = [200, status]
    assert fetch(known["sure"]).read_bytes() == DATA
    assert server.asked == [None, "bytes=1000-", "bytes=1000-"]
    place(known["sure"]).unlink()
    server.status = status
    with pytest.raises(AssetError, match=rf"failed after 0 bytes \({reason}\); what has come is kept"):
        fetch(known["sure"])
    assert len(server.asked) == 3 + download.TRIES


def test_a_web_page_is_not_weights(folder, server, known) -> None:
    server.kind = "text/html"
    with pytest.raises(AssetError, match="gives a web page"):
        fetch(known["unsure"], trust=True)


def test_the_next_address_is_tried(folder, server, known) -> None:
    entry = replace(known["sure"], urls=("http://127.0.0.1:9/gone.bin", server.url))
    assert fetch(entry).read_bytes() == DATA


def test_no_server_at_all(folder, known) -> None:
    with pytest.raises(AssetError, match=r"the connection to http://127.0.0.1:9/ failed after 0 bytes"):
        fetch(replace(known["sure"], urls=("http://127.0.0.1:9/",)))


@pytest.mark.parametrize("switch", ["BENCH_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(folder, server, known, monkeypatch, switch: str) -> None:
    monkeypatch.setenv(switch, "1")
    with pytest.raises(AssetError, match=f"{switch} is set"):
        fetch(known["sure"])
    assert not server.asked and not folder.exists()


def test_what_came_is_kept_if_only_the_lock_file_is_damaged(folder, known) -> None:
    folder.mkdir()
    (folder / "lock.json").write_text("{")
    with pytest.raises(AssetError, match=r"lock.json cannot be read; delete it"):
        fetch(known["sure"])
    assert (folder / "deep" / "sure.bin.part").stat().st_size == len(DATA)


def test_an_unpublished_hash_needs_trust_and_is_pinned(folder, server, known) -> None:
    with pytest.raises(AssetError, match=r"nobody has published the hash of unsure.*--trust"):
        fetch(known["unsure"])
    assert not server.asked
    path = fetch(known["unsure"], trust=True)
    assert lock.read("unsure.bin").sha256 == SHA and lock.read("unsure.bin").how == "trusted"
    assert find("unsure") == path
    path.unlink()
    server.data = DATA[::-1]
    with pytest.raises(AssetError, match="is another file"):
        fetch(known["unsure"], trust=True)
    server.data = DATA
    fetch(known["unsure"])  # its hash is known by now
    assert find("unsure") == path


def test_a_full_disk_before(folder, server, known, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match=r"no space left for sure in .*deep; what has come is kept"):
        fetch(known["sure"])


def test_a_full_disk_midway(folder, server, known, monkeypatch) -> None:
    monkeypatch.setattr(download, "CHUNK", 1000)
    whole = download._receive

    class Full:
        def __init__(self, file) -> None:
            self.file, self.left = file, 5000

        def write(self, piece: bytes) -> None:
            self.left -= len(piece)
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.file.write(piece)

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

    monkeypatch.setattr(download, "_receive", lambda wanted, file, *rest: whole(wanted, Full(file), *rest))
    with pytest.raises(OutputError, match="no space left for sure"):
        fetch(known["sure"])
    monkeypatch.setattr(download, "_receive", whole)
    assert fetch(known["sure"]).read_bytes() == DATA
    assert server.asked == [None, "bytes=5000-"]


def test_a_folder_that_cannot_be_made(tmp_path, server, known, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="set BENCH_WEIGHTS to a folder"):
        fetch(known["sure"])


def test_two_at_once(folder, server, known) -> None:
    part = folder / "deep/sure.bin.part"
    part.parent.mkdir(parents=True)
    with part.open("ab") as file:
        download._alone(file, known["sure"])
        with pytest.raises(OutputError, match="another process is fetching sure"):
            fetch(known["sure"])
