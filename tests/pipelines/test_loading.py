"""LoRA, slicing, compilation, precision, the hub's cache; weights are shared and nothing runs that was not allowed."""

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
import parity
import tiny

CPU = torch.device("cpu")
PROMPTS = ["a cat", "two dogs"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.stable_diffusion(), tmp_path_factory.mktemp("loading") / "sd")


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    yield
    loading.forget()


def opened(folder: Path, dtype: torch.dtype = torch.float32, **options: Any) -> Pipeline:
    return loading.open_pipeline(Source(str(folder), **options), Settings(guidance_scale=2.0), CPU, dtype)


def sample(pipeline: Pipeline) -> torch.Tensor:
    grid = parity.grid_of(pipeline, 2)
    with tiny.quiet():
        return parity.ours(pipeline, PROMPTS, parity.noise(pipeline).normal(), grid)


def test_what_was_saved_is_what_samples(folder: Path) -> None:
    pipeline = opened(folder)
    assert parity.compare(pipeline, PROMPTS, 4) <= parity.TOLERANCE
    for module in loading.modules(pipeline.pipe).values():
        assert not module.training and not any(weight.requires_grad for weight in module.parameters())


def test_modules_are_loaded_once(folder: Path) -> None:
    first, second = opened(folder), opened(folder)
    assert first.pipe is second.pipe
    assert opened(folder, torch.bfloat16).pipe is not first.pipe


def test_precision(folder: Path) -> None:
    exact = sample(opened(folder))
    rounded = opened(folder, torch.bfloat16)
    assert {part.dtype for part in loading.modules(rounded.pipe).values()} == {torch.bfloat16}
    found = sample(rounded)
    assert found.dtype == torch.float32
    assert 0 < parity.error(found, exact) < 0.2


def test_slicing_changes_no_result(folder: Path) -> None:
    plain, sliced = opened(folder), opened(folder, slicing=True)
    assert sliced.pipe.vae.use_slicing and not plain.pipe.vae.use_slicing
    latents = sample(plain)
    assert parity.error(sample(sliced), latents) <= 1e-5
    assert parity.error(sliced.decode(latents), plain.decode(latents)) <= 1e-5


def test_tiling_is_switched_on(folder: Path) -> None:
    assert opened(folder, tiling=True).pipe.vae.use_tiling


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_denoiser_gives_the_same(folder: Path) -> None:
    plain, compiled = opened(folder), opened(folder, compile="eager")
    assert compiled.denoiser._compiled_call_impl is not None
    assert compiled.denoiser.state_dict().keys() == plain.denoiser.state_dict().keys()
    assert parity.error(sample(compiled), sample(plain)) <= 1e-5


def save_lora(folder: Path, where: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A random LoRA of the U-Net's attention in diffusers' layout, and its low-rank updates by module."""
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    with tiny.quiet():
        pipe = tiny.stable_diffusion()
        pipe.unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"]))
        tiny.seeded(11)
        state = get_peft_model_state_dict(pipe.unet)
        state = {name: torch.randn_like(value) * 0.3 for name, value in state.items()}
        StableDiffusionPipeline.save_lora_weights(where, unet_lora_layers=state, safe_serialization=True)
    parts = {name.partition(".lora_")[0] for name in state}
    update = {part: state[f"{part}.lora_B.weight"] @ state[f"{part}.lora_A.weight"] for part in parts}
    return where / "pytorch_lora_weights.safetensors", update


def test_lora_is_added_to_the_weights(folder: Path, tmp_path: Path) -> None:
    file, update = save_lora(folder, tmp_path)
    assert update
    plain = opened(folder)
    merged = opened(folder, lora=str(file), lora_scale=0.5)
    assert merged.denoiser.state_dict().keys() == plain.denoiser.state_dict().keys()
    before, after = plain.denoiser.state_dict(), merged.denoiser.state_dict()
    for name, value in before.items():
        change = update.get(name.removesuffix(".weight"), torch.zeros(()))
        torch.testing.assert_close(after[name], value + 0.5 * change)
    assert parity.error(sample(merged), sample(plain)) > 1e-3
    assert parity.compare(merged, PROMPTS, 4) <= parity.TOLERANCE


def test_lora_of_another_network_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"unet.nothing.lora_A.weight": torch.ones(1, 1)}, tmp_path / "x.safetensors")
    with pytest.raises(AssetError, match="does not fit StableDiffusionPipeline"):
        opened(folder, lora=str(tmp_path / "x.safetensors"))


def test_pixel_pipelines_are_saved_and_loaded(tmp_path: Path) -> None:
    pipeline = opened(tiny.save(tiny.pixel_text(), tmp_path / "pixel"))
    assert type(pipeline.pipe).__name__ == "PixelTextPipeline"
    assert sample(pipeline).shape == (2, 3, 8, 8)


COMMIT = "0123456789abcdef0123456789abcdef01234567"


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


def test_a_variant_in_several_files_is_one(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    weights = copy / "text_encoder" / "model.safetensors"
    for part in (1, 2):
        shutil.copy(weights, weights.with_name(f"model.fp16-{part:05}-of-00002.safetensors"))
    assert locate(str(copy), "fp16").folder == copy
    (copy / "text_encoder" / "model.fp16-00001-of-00002.safetensors").unlink()
    with pytest.raises(AssetError, match="does not have all 2 parts of its weights"):
        locate(str(copy), "fp16")


def test_a_safety_checker_is_not_missed(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    index = copy / "model_index.json"
    checker = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index.write_text(json.dumps({**json.loads(index.read_text()), "safety_checker": checker}))
    assert opened(copy).pipe.safety_checker is None


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model", "text_encoder/model", "vae/diffusion_pytorch_model"])
def test_damaged_weights_are_one_sentence(folder: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    weights = copy / f"{name}.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(AssetError, match="cannot be loaded") as caught:
        opened(copy)
    assert "\n" not in str(caught.value)


def test_offline_by_either_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    with pytest.raises(AssetError, match="fetching is switched off"):
        locate("owner/not-here")
    assert "HF_HUB_OFFLINE" not in os.environ
