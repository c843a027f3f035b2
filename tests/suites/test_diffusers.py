"""Any diffusers pipeline as a suite: weights are there once, prompts encoded once, a mistake is one sentence."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import registry
from bench.errors import AssetError, BenchError, UsageError
from bench.pipelines import loading
from bench.quoting import quote
from bench.request import Request, suite_spec
from bench.sampling import Teacher
from bench.suites import _pipeline

sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))
import tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tiny Stable Diffusion and a file of prompts."""
    root = tmp_path_factory.mktemp("suite")
    tiny.save(tiny.stable_diffusion(name="EulerDiscreteScheduler"), root / "sd")
    (root / "prompts.txt").write_text("a cat\na dog, [red]\na cat\n")
    (root / "my.toml").write_text(
        'model = "sd"\nprompts = "prompts.txt"\nguidance_scale = 3.0\nsamples = 6\nbatch_size = 4\n'
        'metrics = ["rmse", "clip_score[scale=100]"]\nnegative_prompt = "bad, [worse] 100%"\nslicing = true\n'
    )
    return root


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    yield
    _pipeline.forget()
    loading.forget()


def suite_of(folder: Path, **params: Any) -> Any:
    given = {"model": folder / "sd", "prompts": folder / "prompts.txt", **params}
    text = ",".join(f"{key}={quote(str(value))}" for key, value in given.items())
    return registry.create("suite", f"diffusers[{text}]")


def test_a_toml_file_becomes_a_spec_that_gives_the_same_suite(folder: Path) -> None:
    spec = suite_spec(str(folder / "my.toml"))
    suite = registry.create("suite", spec)
    again = registry.create("suite", registry.canonical("suite", "diffusers", suite))
    assert suite == again
    assert suite.settings.negative_prompt == "bad, [worse] 100%"
    assert suite.metrics == ("rmse", "clip_score[scale=100]")
    assert (suite.samples, suite.batch, suite.slicing) == (6, 4, True)
    assert suite.source.model == str(folder / "sd")
    assert Request(suite=str(folder / "my.toml")).suite == spec


def test_quick_specs() -> None:
    assert suite_spec("diffusers:owner/name@main") == "diffusers[model=owner/name@main]"
    assert suite_spec("tiny-t2i[guidance_scale=2]") == "tiny_t2i[guidance_scale=2]"
    assert suite_spec("mixture[preset=mixture-2d]") == "mixture[preset=mixture-2d]"


def test_samples_become_pictures_and_prompts(folder: Path) -> None:
    suite = suite_of(folder, guidance_scale=2.0)
    teacher = Teacher.load(suite)
    method = registry.create("method", "ddim")
    samples, ledger = teacher.generate(method, 2, 0, range(4))
    assert (ledger.nfe, samples.shape) == (2, (4, 4, 8, 8))
    batch = suite.describe(samples, suite.label(range(4)))
    assert batch.prompts == ("a cat", "a dog, [red]", "a cat", "a cat")
    assert batch.images is not None and batch.clips is None
    assert batch.images.shape == (4, 3, 16, 16) and batch.images.dtype == torch.uint8
    expected = (suite.pipeline.decode(samples) * 255).round().to(torch.uint8)
    assert torch.equal(batch.images, expected)
    assert torch.allclose(suite.images(samples) * 255, expected.float(), atol=0.5)


def test_each_prompt_is_encoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = suite_of(folder, guidance_scale=2.0)
    teacher = Teacher.load(suite)
    seen: list[str] = []
    pipe = suite.pipeline.pipe
    encode = pipe.encode_prompt

    def counted(prompts: list[str], *args: Any) -> Any:
        seen.extend(prompts)
        return encode(prompts, *args)

    monkeypatch.setattr(pipe, "encode_prompt", counted)
    for name in ("ddim", "heun"):
        for index in (range(3), range(3, 6)):
            teacher.generate(registry.create("method", name), 3, 0, index)
    Teacher.load(suite).generate(registry.create("method", "ddim"), 1, 1, range(2))
    assert sorted(seen) == ["", "a cat", "a dog, [red]"]


def test_weights_are_there_once(folder: Path) -> None:
    suite = suite_of(folder)
    first, second = (suite.network(CPU, torch.float32) for _ in range(2))
    assert first is second
    other = suite_of(folder, guidance_scale=2.0).network(CPU, torch.float32)
    assert other.pipeline.pipe is first.pipeline.pipe


def test_the_reference_solution_converges(folder: Path) -> None:
    """For normal data of spread 2 the solution is known."""
    error = []
    for steps in (20, 40, 80):
        suite = suite_of(folder, solution_steps=steps)
        highest, seen = suite.sigma_max, []
        x = highest * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

        def denoise(x: torch.Tensor, sigma: Any, seen: list[float] = seen) -> torch.Tensor:
            seen.append(sigma)
            return x * 4 / (4 + sigma**2)

        found = suite.solve(denoise, x)
        assert len(seen) == steps
        error.append(float((found - x * 2 / (4 + highest**2) ** 0.5).abs().max()))
    # the last step, down to clean data, is of first order
    assert error[1] < error[0] / 1.8 and error[2] < error[1] / 1.8 and error[2] < 2e-2


def test_identity_follows_content_not_place(folder: Path, tmp_path: Path) -> None:
    suite = suite_of(folder)
    shutil.copytree(folder / "sd", tmp_path / "copy")
    moved = suite_of(folder, model=tmp_path / "copy")
    assert moved.revision() == suite.revision()
    config = tmp_path / "copy" / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.012", "0.013"))
    assert moved.revision() != suite.revision()
    for params in ({"guidance_scale": 2.0}, {"negative_prompt": "x"}, {"height": 24}, {"prompt_count": 2}):
        assert suite_of(folder, **params).teacher_id() != suite.teacher_id()
    assert suite_of(folder, samples=3, batch_size=2).teacher_id() == suite.teacher_id()


def test_planning_loads_no_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any) -> Any:
        raise AssertionError("loaded")

    monkeypatch.setattr(loading, "load", never)
    suite = suite_of(folder)
    suite.verify()
    assert suite.revision() and suite.teacher_id() and suite.samples and suite.metrics


def test_stages_for_latency(folder: Path) -> None:
    suite = suite_of(folder, guidance_scale=2.0)
    suite.encode(range(2))
    assert suite.decode(torch.zeros(2, 4, 8, 8)).shape == (2, 3, 16, 16)


def broken(folder: Path, tmp_path: Path, change: str) -> str:
    copy = tmp_path / "copy"
    shutil.copytree(folder / "sd", copy)
    index = copy / "model_index.json"
    content = json.loads(index.read_text())
    if change == "no index":
        index.unlink()
    elif change == "unknown class":
        index.write_text(json.dumps({**content, "_class_name": "StableDiffusionPipelin"}))
    elif change == "only pickles":
        weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
        weights.rename(weights.with_suffix(".bin"))
    elif change == "missing component":
        shutil.rmtree(copy / "vae")
    elif change == "no weights":
        (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    elif change == "damaged":
        (copy / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\0" * 20)
    elif change == "remote code":
        index.write_text(json.dumps({**content, "unet": ["mine", "Mine"]}))
        (copy / "unet" / "mine.py").write_text("raise SystemExit('ran')")
    return str(copy)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ("no index", AssetError, "has no model_index.json"),
        ("unknown class", UsageError, "did you mean StableDiffusionPipeline"),
        ("only pickles", AssetError, "as pickles only"),
        ("missing component", AssetError, "has no folder vae"),
        ("no weights", AssetError, "has the configuration of a UNet2DConditionModel but no weights"),
        ("remote code", UsageError, "Python code of its own"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_before_a_run(
    folder: Path, tmp_path: Path, change: str, error: type[BenchError], words: str
) -> None:
    suite = suite_of(folder, model=broken(folder, tmp_path, change))
    with pytest.raises(error, match=words) as caught:
        suite.verify()
        suite.revision()
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    suite = suite_of(folder, model=broken(folder, tmp_path, "damaged"))
    with pytest.raises(AssetError, match="cannot be loaded") as caught:
        suite.network(CPU, torch.float32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ({"model": "nobody/nothing"}, AssetError, "neither a folder here nor in the cache"),
        ({"model": "./nothing-here"}, UsageError, "is no folder"),
        ({"height": 25}, UsageError, "height must be a positive multiple of 8"),
        ({"prompts": ""}, UsageError, "generates from texts"),
        ({"prompts": "nowhere.txt"}, UsageError, "nowhere.txt"),
        ({"promts": "x"}, UsageError, "did you mean prompt"),
        ({"offload": "model"}, UsageError, "nothing to move with device cpu"),
        ({"lora": "weights.bin"}, UsageError, "safetensors file"),
        ({"lora": "weights.safetensors"}, AssetError, "there is no file"),
        ({"compile": "nothing"}, UsageError, "has no backend 'nothing'"),
        ({"guidance_scale": -1}, UsageError, "guidance_scale"),
        ({"variant": "fp16"}, AssetError, "no weights of the variant 'fp16'"),
    ],
)
def test_a_wrong_parameter_is_one_sentence(
    folder: Path, params: dict[str, Any], error: type[BenchError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    with pytest.raises(error, match=words) as caught:
        suite = suite_of(folder, **params)
        suite.verify()
        assert "height" not in params, "sizes are checked before anything is loaded"
        suite.network(CPU, torch.float32)
    assert "\n" not in str(caught.value)
