"""The record of a folder: every file is checked, and hashes of parts are independent."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import AssetError
from bench.tiny import assets


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("pipeline/unet/a.safetensors", "pipeline/model_index.json", "clip/b.safetensors"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    assets.write_record(tmp_path, {"teacher": {"seed": 0}})
    return tmp_path


def test_an_untouched_folder_passes(folder: Path) -> None:
    assets.verify(folder)
    assert len(assets.read_record(folder)["files"]) == 3


@pytest.mark.parametrize("name", ["pipeline/unet/a.safetensors", "pipeline/model_index.json", "clip/b.safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "changed", "gone"])
def test_damage_is_found_and_named(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if damage == "truncated" else b"X" + data[1:])
    with pytest.raises(AssetError, match=path.name):
        assets.verify(folder)


def test_a_record_that_is_none_is_a_sentence(folder: Path) -> None:
    for text in ("{}", "[1", '{"files": 3}'):
        (folder / assets.RECORD).write_text(text)
        with pytest.raises(AssetError, match="restore"):
            assets.verify(folder)


def test_a_part_has_a_hash_of_its_own(folder: Path) -> None:
    before = assets.read_record(folder)
    (folder / "clip/b.safetensors").write_bytes(b"other")
    assets.write_record(folder, {})
    after = assets.read_record(folder)
    assert assets.subset(before, "pipeline/") == assets.subset(after, "pipeline/")
    assert assets.subset(before, "clip/") != assets.subset(after, "clip/")
