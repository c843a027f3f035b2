"""Repositories of the hub: found in its cache by commit, asked once, and nothing runs that was not allowed."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.errors import AssetError, UsageError
from bench.pipelines import loading
from bench.pipelines.base import Pipeline, Settings
from bench.pipelines.hub import locate
from bench.pipelines.loading import Source

sys.path.insert(0, str(Path(__file__).parent))
import tiny

CPU = torch.device("cpu")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.stable_diffusion(), tmp_path_factory.mktemp("loading") / "sd")


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    yield
    loading.forget()


def opened(folder: Path, dtype: torch.dtype = torch.float32, **options: Any) -> Pipeline:
    return loading.open_pipeline(Source(str(folder), **options), Settings(guidance_scale=2.0), CPU, dtype)


@pytest.fixture
def cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub that holds one repository, and no network."""
    import huggingface_hub.constants

    root = tmp_path / "hub"
    snapshot = root / "models--owner--name" / "snapshots" / COMMIT
    shutil.copytree(folder, snapshot)
    refs = root / "models--owner--name" / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(root))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(root))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return snapshot


@pytest.mark.parametrize("revision", ["", "@main", f"@{COMMIT}"])
def test_a_repository_in_the_cache_is_found_by_its_commit(cache: Path, revision: str) -> None:
    found = locate(f"owner/name{revision}")
    assert (found.folder, found.repository, found.commit) == (cache, "owner/name", COMMIT)
    assert opened(Path(f"owner/name{revision}")).shape == (4, 8, 8)


def test_another_revision_is_not_taken_for_it(cache: Path) -> None:
    with pytest.raises(AssetError, match="owner/name@other is neither a folder here nor in the cache"):
        locate("owner/name@other")


def test_remote_code_is_allowed_by_name_and_commit_only(cache: Path) -> None:
    index = cache / "model_index.json"
    content = json.loads(index.read_text())
    index.unlink()  # a link into the cache's blobs where the hub made it
    index.write_text(json.dumps({**content, "unet": ["mine", "Mine"]}))
    (cache / "unet" / "mine.py").write_text("raise SystemExit('ran')")
    for allowed in ("", "owner/name@main", "owner/name", f"other/name@{COMMIT}"):
        with pytest.raises(UsageError, match=f"allow_code=owner/name@{COMMIT}"):
            locate("owner/name", allow_code=allowed)
    assert locate("owner/name", allow_code=f"owner/name@{COMMIT}").commit == COMMIT


class Hub:
    """A hub with one repository: what was asked of it."""

    def __init__(self, snapshot: Path) -> None:
        self.snapshot = snapshot
        self.asked: list[str] = []
        self.options: dict[str, Any] = {}
        self.error: Exception | None = None

    def file(self, repository: str, name: str, **options: Any) -> str:
        self.asked.append(name)
        if self.error is not None:
            raise self.error
        return str(self.snapshot / name)

    def everything(self, repository: str, **options: Any) -> None:
        self.asked.append(repository)
        self.options = options


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    import diffusers
    import huggingface_hub

    found = Hub(cache)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.delenv("BENCH_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", found.file)
    monkeypatch.setattr(diffusers.DiffusionPipeline, "download", found.everything)
    return found


def test_the_hub_is_asked_once(hub: Hub) -> None:
    assert locate("owner/name") == locate("owner/name")
    assert hub.asked == ["model_index.json", "owner/name"]
    wanted = {"revision": COMMIT, "use_safetensors": True, "variant": None, "trust_remote_code": False}
    assert hub.options == {**wanted, "safety_checker": None}


def test_code_of_the_pipeline_itself_is_refused_before_it_is_fetched(hub: Hub) -> None:
    index = hub.snapshot / "model_index.json"
    content = json.loads(index.read_text())
    index.write_text(json.dumps({**content, "_class_name": ["mine", "StableDiffusionPipeline"]}))
    with pytest.raises(UsageError, match="code of its own"):
        locate("owner/name")
    assert hub.asked == ["model_index.json"]
    assert locate("owner/name", allow_code=f"owner/name@{COMMIT}").class_name == "StableDiffusionPipeline"
    assert hub.options["trust_remote_code"] is True


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("GatedRepoError", "asks for its terms to be accepted"),
        ("RepositoryNotFoundError", "there is no repository owner/name on the hub"),
        ("RemoteEntryNotFoundError", "has no model_index.json"),
        ("RevisionNotFoundError", "cannot be fetched: it has no such revision;"),
        ("HfHubHTTPError", "cannot be fetched: the hub answers with HTTP 404;"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(hub: Hub, kind: str, words: str) -> None:
    import httpx
    from huggingface_hub import errors

    response = httpx.Response(404, request=httpx.Request("GET", "https://huggingface.co"))
    hub.error = getattr(errors, kind)("why\nand more", response=response)
    with pytest.raises(AssetError, match=words) as caught:
        locate("owner/name")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lora", [False, True])
def test_a_hub_that_cannot_be_reached_is_one_sentence(
    lora: bool, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The real library against a port where nobody listens; it tries again and would tell of each time."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    nowhere = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", nowhere)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.delenv("BENCH_OFFLINE", raising=False)
    waits: list[float] = []
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=waits.append, time=time.time))
    level = logging.getLogger("huggingface_hub").level
    with pytest.raises(AssetError, match="the hub cannot be reached, and no copy is in the cache;") as caught:
        loading.lora_file("other/name:lora.safetensors") if lora else locate("other/name")
    assert waits and "\n" not in str(caught.value) and "Error" not in str(caught.value)
    assert not caplog.records
    assert logging.getLogger("huggingface_hub").level == level


def test_offline_by_either_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    with pytest.raises(AssetError, match="fetching is switched off"):
        locate("owner/not-here")
    assert "HF_HUB_OFFLINE" not in os.environ
