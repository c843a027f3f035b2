"""The manifest, what counts as being here, and files brought by hand."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from bench.errors import AssetError, UsageError
from bench.weightstore import lock, manifest, store
from bench.weightstore.bring import bring

DATA = bytes(range(256)) * 4096  # what the server gives, 1 MiB


def test_the_manifest_is_sound() -> None:
    known = manifest.read(manifest.MANIFEST)
    assert len({entry.file for entry in known.values()}) == len(known)
    for entry in known.values():
        assert re.fullmatch(r"[a-z0-9.-]+", entry.name)
        assert entry.urls and all(url.startswith("https://") for url in entry.urls)
        assert entry.licence and entry.purpose
        assert not Path(entry.file).is_absolute() and ".." not in Path(entry.file).parts
        assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
        assert (entry.evidence != "") == bool(entry.prefix)
        named = re.search(r"-([0-9a-f]{8})\.pth$", entry.file)
        assert named is None or entry.prefix.startswith(named[1])
        for url in entry.urls:  # OpenAI's addresses have the whole hash
            assert "openaipublic" not in url or f"/{entry.sha256}/" in url


def test_the_hashes_of_lpips_are_those_of_torchmetrics() -> None:
    """torchmetrics ships the authors' files, so these two can be checked without a network."""
    torchmetrics = pytest.importorskip("importlib.util").find_spec("torchmetrics")
    if torchmetrics is None:
        pytest.skip("torchmetrics is not installed")
    shipped = Path(torchmetrics.origin).parent / "functional" / "image" / "lpips_models"
    for net in ("alex", "vgg"):
        entry = manifest.read(manifest.MANIFEST)[f"lpips-{net}"]
        data = (shipped / f"{net}.pth").read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry.size, entry.sha256)


def test_groups_and_names() -> None:
    chosen = [entry.name for entry in manifest.select(["lpips", "inception-v3-tf"])]
    assert chosen[0] == "inception-v3-tf" and "lpips-vgg" in chosen
    assert len(manifest.select([])) == len(manifest.entries())
    with pytest.raises(UsageError, match=r"unknown weights 'inception'; did you mean .*inception-v3-tf"):
        manifest.select(["inception"])


def test_what_is_not_here_says_how_to_get_it(folder, known) -> None:
    with pytest.raises(AssetError, match=r"weights sure are not here \(tests\); run bench weights fetch sure"):
        store.find("sure")
    assert not store.present("sure")
    assert len(store.missing(["sure", "unsure"])) == 2
    with pytest.raises(UsageError, match="unknown weights 'sur'; did you mean sure"):
        store.find("sur")


def test_a_file_put_there_by_hand_is_hashed_once(folder, known, monkeypatch) -> None:
    path = store.place(known["sure"])
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    assert store.find("sure") == path
    monkeypatch.setattr(lock, "digest", lambda path: pytest.fail("read again"))
    assert store.find("sure") == path
    assert store.missing(["sure"]) == ()


def test_a_file_that_changed_is_refused(folder, known) -> None:
    path = store.place(known["sure"])
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    store.find("sure")
    path.write_bytes(DATA[:-1] + b"x")
    os.utime(path, ns=(1, 1))
    with pytest.raises(AssetError, match=r"is not sure: its SHA-256 begins [0-9a-f]{12}, not .*; delete it"):
        store.find("sure")
    assert not store.present("sure")


def test_a_file_of_unknown_hash_put_there_by_hand_is_not_trusted(folder, known) -> None:
    path = store.place(known["unsure"])
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    with pytest.raises(AssetError, match=r"was not accepted before.*import .*--as unsure --trust"):
        store.find("unsure")
    bring(path, "unsure", trust=True)
    assert store.find("unsure") == path


def test_a_folder_that_can_only_be_read(folder, known, monkeypatch) -> None:
    path = store.place(known["sure"])
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    (folder / ".lock.json.tmp").mkdir()  # so that lock.json cannot be written, even by root
    assert store.find("sure") == path


def test_a_damaged_lock_file(folder, known) -> None:
    store.place(known["sure"]).parent.mkdir(parents=True)
    store.place(known["sure"]).write_bytes(DATA)
    for text in ("{", json.dumps({"deep/sure.bin": {"other": 1}})):
        (folder / "lock.json").write_text(text)
        with pytest.raises(AssetError, match=r"lock.json cannot be read; delete it"):
            store.find("sure")


def test_a_file_is_recognised_by_its_hash(folder, known, tmp_path) -> None:
    brought = tmp_path / "any name.bin"
    brought.write_bytes(DATA)
    assert bring(brought).name == "sure"
    assert store.find("sure").read_bytes() == DATA and brought.exists()
    assert not list(folder.rglob(".*"))


def test_the_advised_command_survives_a_shell(folder, known, tmp_path) -> None:
    brought = tmp_path / "a file; of mine.bin"
    brought.write_bytes(b"other")
    with pytest.raises(AssetError, match=r"run bench weights import '.*a file; of mine.bin' --as unsure --trust"):
        bring(brought, "unsure")


def test_what_is_nothing_we_know(folder, known, tmp_path) -> None:
    brought = tmp_path / "unsure.bin"
    brought.write_bytes(b"other")
    with pytest.raises(AssetError, match=r"is none of the files.*add --as unsure --trust"):
        bring(brought)
    with pytest.raises(AssetError, match=f"{brought} was not.* import {brought} --as unsure --trust"):
        bring(brought, "unsure")
    with pytest.raises(AssetError, match=rf"{brought} is not sure: its SHA-256 begins [0-9a-f]{{12}}, not .*; bring"):
        bring(brought, "sure", trust=True)
    with pytest.raises(UsageError, match="there is no file"):
        bring(tmp_path / "none")
    assert not store.present("sure") and not list(folder.rglob("*.bin*"))
    bring(brought, "unsure", trust=True)
    assert store.find("unsure").read_bytes() == b"other"
    assert bring(brought).name == "unsure"  # known by now
