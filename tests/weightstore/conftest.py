"""A folder of weights, a manifest of two files, and a server that can cut connections."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.weightstore import download, manifest
from bench.weightstore.manifest import Entry

DATA = bytes(range(256)) * 4096  # 1 MiB


@dataclass
class Behaviour:
    """What the server does, and what it has been asked."""

    data: bytes = DATA
    cut_after: list[int] = field(default_factory=list)  # bytes after which each of the next answers breaks off
    ranges: bool = True
    status: int = 200
    status_after: list[int] = field(default_factory=list)  # of each of the next answers, before that
    etag: str = '"one"'
    kind: str = "application/octet-stream"
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        b = self.behaviour
        wanted = self.headers.get("Range")
        b.asked.append(wanted)
        status = b.status_after.pop(0) if b.status_after else b.status
        if status != 200:
            self.send_error(status)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and b.ranges else 0
        if start and self.headers.get("If-Range", b.etag) != b.etag:
            start = 0
        if start >= len(b.data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(b.data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = b.data[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", b.kind)
        self.send_header("ETag", b.etag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(b.data) - 1}/{len(b.data)}")
        self.end_headers()
        self.wfile.write(body[: b.cut_after.pop(0)] if b.cut_after else body)
        self.close_connection = True


class Quiet(ThreadingHTTPServer):
    """A client that leaves early is what some tests are about."""

    def handle_error(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Behaviour]:
    behaviour = Behaviour()
    handler = type("Bound", (Handler,), {"behaviour": behaviour})
    with Quiet(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        behaviour.url = f"http://127.0.0.1:{http.server_address[1]}/file.bin"
        yield behaviour
        http.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where weights are, during a test; no proxy, no switch, no waiting."""
    found = tmp_path / "weights"
    monkeypatch.setenv("BENCH_WEIGHTS", str(found))
    for name in ("BENCH_OFFLINE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "WAIT", 0.0)
    return found


@pytest.fixture
def known(folder: Path, server: Behaviour, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Entry]]:
    """A manifest: ``sure`` has a published hash, ``unsure`` has none."""
    made = {
        "sure": Entry(
            "sure", "deep/sure.bin", (server.url,), "MIT", "tests",
            size=len(DATA), sha256=hashlib.sha256(DATA).hexdigest(), groups=("both",),
        ),
        "unsure": Entry("unsure", "unsure.bin", (server.url,), "MIT", "tests", groups=("both",)),
    }  # fmt: skip
    manifest.entries.cache_clear()
    monkeypatch.setattr(manifest, "read", lambda path: made)
    yield made
    manifest.entries.cache_clear()
