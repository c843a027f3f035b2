"""The store of fitted artifacts: what is found, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import artifacts, registry
from bench.artifacts import Artifact, Meta
from bench.errors import AssetError, ExitCode, OutputError, UsageError

TENSORS = {"power": torch.tensor(0.625, dtype=torch.float16), "table": torch.arange(6, dtype=torch.float64).view(2, 3)}


@pytest.fixture
def toy() -> Any:
    registry.add_path("suite", Path(__file__).parent / "fixtures" / "toy.py")
    return registry.create("suite", "toy")


@pytest.fixture
def method() -> Any:
    return registry.create("method", "consistency")


def write(root: Path, suite: Any, method: Any, tensors: dict[str, Tensor] = TENSORS, **changes: Any) -> Artifact:
    meta = Meta(
        suite=artifacts.suite_spec(suite),
        teacher=suite.teacher_id(),
        method=registry.canonical("method", "consistency", method),
        params=artifacts.fit_params(method),
        name=method.artifact_name(1),
        nfe=1,
        seed=0,
        fit_evals=12,
        fit_images=3,
        fit_seconds=0.5,
        command="bench fit",
        environment={},
        created="2025-01-01T00:00:00+00:00",
    )
    return artifacts.save(root, tensors, meta.model_copy(update=changes))


def find(root: Path, suite: Any, method: Any) -> Artifact | None:
    return artifacts.find(suite, method, "consistency", 1, root)


def refused(root: Path, suite: Any, method: Any, sentence: str) -> None:
    with pytest.raises(AssetError, match=sentence) as caught:
        find(root, suite, method)
    assert caught.value.exit_code == ExitCode.ASSET == 7
    assert "bench fit" in str(caught.value)


def test_what_is_written_is_found_bit_for_bit(tmp_path: Path, toy: Any, method: Any) -> None:
    written = write(tmp_path, toy, method)
    found = find(tmp_path, toy, method)
    assert found is not None
    assert found.path == tmp_path / "toy" / "consistency" / "cd.safetensors"
    assert found.meta == written.meta and found.sha256 == written.sha256
    tensors = found.tensors()
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[k], TENSORS[k]) and tensors[k].dtype == TENSORS[k].dtype for k in TENSORS)
    assert sorted(path.name for path in found.path.parent.iterdir()) == ["cd.json", "cd.safetensors"]


def test_nothing_there_is_none_and_so_is_a_method_that_needs_nothing(tmp_path: Path, toy: Any, method: Any) -> None:
    assert find(tmp_path, toy, method) is None
    assert artifacts.find(toy, registry.create("method", "ddim"), "ddim", 1, tmp_path) is None


def test_the_extra_folder_is_searched_before_the_shipped_one(
    tmp_path: Path, toy: Any, method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped, extra = tmp_path / "shipped", tmp_path / "extra"
    extra.mkdir()
    monkeypatch.setattr(artifacts, "SHIPPED", shipped)
    write(shipped, toy, method, seed=1)
    assert [find(extra, toy, method).meta.seed, artifacts.find(toy, method, "consistency", 1).meta.seed] == [1, 1]  # type: ignore[union-attr]
    write(extra, toy, method, seed=2)
    assert [find(extra, toy, method).meta.seed, artifacts.find(toy, method, "consistency", 1).meta.seed] == [2, 1]  # type: ignore[union-attr]


def test_a_shipped_artifact_for_other_parameters_is_none_but_a_damaged_one_is_refused(
    tmp_path: Path, toy: Any, method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user who sets a parameter did not ask for what we ship: the record says how to fit it."""
    monkeypatch.setattr(artifacts, "SHIPPED", tmp_path)
    written = write(tmp_path, toy, method)
    longer = registry.create("method", f"consistency[steps={method.steps + 1}]")
    guided = registry.create("suite", "toy[guidance_scale=2]")
    assert artifacts.find(toy, method, "consistency", 1) is not None
    assert artifacts.find(toy, longer, "consistency", 1) is None
    assert artifacts.find(guided, method, "consistency", 1) is None
    written.path.write_bytes(b"")
    with pytest.raises(AssetError, match="damaged"):
        artifacts.find(toy, method, "consistency", 1)


def test_an_extra_folder_that_is_not_there_is_a_usage_error(tmp_path: Path, toy: Any, method: Any) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        find(tmp_path / "typo", toy, method)


def test_one_changed_bit_is_refused(tmp_path: Path, toy: Any, method: Any) -> None:
    path = write(tmp_path, toy, method).path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    refused(tmp_path, toy, method, "damaged")


@pytest.mark.parametrize("keep", [0, 7, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, toy: Any, method: Any, keep: int) -> None:
    path = write(tmp_path, toy, method).path
    path.write_bytes(path.read_bytes()[:keep])
    refused(tmp_path, toy, method, "damaged")


def test_a_file_that_changes_after_it_was_found_is_refused(tmp_path: Path, toy: Any, method: Any) -> None:
    found = write(tmp_path, toy, method)
    found.path.write_bytes(b"other")
    with pytest.raises(AssetError, match="damaged"):
        found.tensors()


def test_a_file_that_is_no_safetensors_is_refused_even_with_its_digest(tmp_path: Path, toy: Any, method: Any) -> None:
    """Whoever can write both files still cannot have anything but tensors read."""
    import hashlib

    found = write(tmp_path, toy, method)
    pickled = b"\x80\x04\x95cposix\nsystem\n."
    found.path.write_bytes(pickled)
    forged = Artifact(found.path, found.meta.model_copy(update={"sha256": hashlib.sha256(pickled).hexdigest()}))
    with pytest.raises(AssetError, match="not a safetensors file"):
        forged.tensors()


@pytest.mark.parametrize("missing, sentence", [(".json", "no readable cd.json"), (".safetensors", "cannot be read")])
def test_one_file_without_the_other_is_refused(
    tmp_path: Path, toy: Any, method: Any, missing: str, sentence: str
) -> None:
    write(tmp_path, toy, method).path.with_suffix(missing).unlink()
    refused(tmp_path, toy, method, sentence)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": 99}'])
def test_a_record_that_is_not_one_is_refused(tmp_path: Path, toy: Any, method: Any, text: str) -> None:
    write(tmp_path, toy, method).path.with_suffix(".json").write_text(text)
    refused(tmp_path, toy, method, "damaged or of another version")


def test_a_newer_schema_is_refused(tmp_path: Path, toy: Any, method: Any) -> None:
    record = write(tmp_path, toy, method).path.with_suffix(".json")
    text = record.read_text(encoding="utf-8")
    assert '"schema_version": 1' in text
    record.write_text(text.replace('"schema_version": 1', '"schema_version": 2'))
    refused(tmp_path, toy, method, "another version")


def test_another_teacher_is_refused(tmp_path: Path, toy: Any, method: Any) -> None:
    write(tmp_path, toy, method, teacher="feedbeef")
    refused(tmp_path, toy, method, "fitted to toy .teacher feedbeef., not to")


def test_other_parameters_of_the_suite_are_refused(tmp_path: Path, toy: Any, method: Any) -> None:
    write(tmp_path, toy, method)
    guided = registry.create("suite", "toy[guidance_scale=2]")
    refused(tmp_path, guided, method, r"fitted to toy .*not to this toy\[guidance_scale=2\.0\]")


def test_other_parameters_of_the_fit_are_refused_and_named(tmp_path: Path, toy: Any, method: Any) -> None:
    write(tmp_path, toy, method)
    longer = registry.create("method", f"consistency[steps={method.steps + 1}]")
    refused(tmp_path, toy, longer, f"fitted with steps={method.steps}, not {method.steps + 1}")


def test_a_default_that_has_changed_since_is_refused(tmp_path: Path, toy: Any, method: Any) -> None:
    """The canonical specs are the same; the values are not."""
    write(tmp_path, toy, method, params={**artifacts.fit_params(method), "rate": "0.5"})
    refused(tmp_path, toy, method, "fitted with rate=0.5, not")


def test_a_parameter_that_came_or_went_is_refused(tmp_path: Path, toy: Any, method: Any) -> None:
    params = artifacts.fit_params(method)
    write(tmp_path, toy, method, params={**params, "gone": "1"})
    refused(tmp_path, toy, method, "gone=1, not None")
    write(tmp_path, toy, method, params={k: v for k, v in params.items() if k != "steps"})
    refused(tmp_path, toy, method, "steps=None, not")


def test_parameters_of_sampling_alone_are_free(tmp_path: Path, toy: Any, method: Any) -> None:
    write(tmp_path, toy, method)
    assert find(tmp_path, toy, registry.create("method", "consistency[grid=karras]")) is not None


@pytest.mark.parametrize(
    "name", ["..", "../x", "a/b", "a\\b", "/etc/passwd", "", ".hidden", "a.b", "A", "x" * 65, "é", "a\n"]
)
def test_names_that_could_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    for names in ((name, "m", "a"), ("s", name, "a"), ("s", "m", name)):
        with pytest.raises(UsageError, match="cannot name an artifact"):
            artifacts.locate(tmp_path, *names)


def test_an_unwritable_folder_is_an_output_error(tmp_path: Path, toy: Any, method: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="--out") as caught:
        write(tmp_path / "file", toy, method)
    assert caught.value.exit_code == ExitCode.OUTPUT


def test_an_interrupted_write_leaves_what_was_there(
    tmp_path: Path, toy: Any, method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write(tmp_path, toy, method)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, toy, method, {"power": torch.zeros(1000)})
    found = find(tmp_path, toy, method)
    assert found is not None and found.sha256 == before.sha256
    assert found.tensors()["power"].item() == 0.625


def test_what_is_shipped_says_what_it_is() -> None:
    """Each record belongs to its place, its file has the digest it states, and all files together are small."""
    records = sorted(artifacts.SHIPPED.rglob("*.json"))
    for record in records:
        meta = Meta.model_validate_json(record.read_text(encoding="utf-8"))
        names = (registry.parse(meta.suite).name, registry.parse(meta.method).name, meta.name)
        assert artifacts.locate(artifacts.SHIPPED, *names) == record.with_suffix(".safetensors")
        assert Artifact(record.with_suffix(".safetensors"), meta).tensors()
    assert sum(path.stat().st_size for path in artifacts.SHIPPED.rglob("*") if path.is_file()) <= 20e6


def test_finding_needs_no_torch(root: Path) -> None:
    code = "import sys, bench.artifacts; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=60)
