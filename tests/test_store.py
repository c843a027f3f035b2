"""The store: durable, locked, and never silent about what it cannot read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import store as module
from bench.cell import Cell
from bench.errors import OutputError
from bench.record import Record, Status
from bench.store import Store, current, read_array, read_record, read_records

FIXTURES = Path(__file__).parent / "fixtures" / "records"


def record(nfe: int = 4, revision: str = "m", created: str = "2026-01-01T00:00:00+00:00") -> Record:
    cell = Cell(
        suite="mixture", method="ddim", nfe=nfe, seed=0, samples=8, suite_revision="s", method_revision=revision,
        metrics=("fd:x/n=8",),
    )  # fmt: skip
    return Record(id=cell.id, cell=cell, status=Status.OK, nfe=nfe, created=created)


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    saved = record()
    with Store(tmp_path / "new" / "out") as store:
        store.save(saved, {"influence": np.array([0.5, -0.5], dtype=np.float32)})
    assert read_records(store.out) == {saved.id: saved}
    influence = read_array(store.out, saved.id, "influence")
    assert influence is not None
    assert (influence.dtype, influence.tolist()) == (np.float32, [0.5, -0.5])
    assert read_array(store.out, "0" * 16, "influence") is None


def test_a_second_writer_is_refused_until_the_first_has_gone(tmp_path: Path) -> None:
    with Store(tmp_path), pytest.raises(OutputError, match="another run is writing"), Store(tmp_path):
        pass
    with Store(tmp_path):
        pass


def test_what_a_killed_run_left_is_removed_and_never_read(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        (store.records / ".0123.json.tmp").write_text('{"half')
        (store.scratch / "worker-1.log").write_text("words")
    assert read_records(tmp_path) == {}
    with Store(tmp_path) as store:
        assert list(store.records.iterdir()) == []
        assert list(store.scratch.iterdir()) == []


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("v*/*.json")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_records_of_every_past_schema_are_read(path: Path) -> None:
    found = read_record(path)
    assert found.schema_version == module.SCHEMA
    assert found.id == found.cell.id == path.stem


def test_there_is_a_fixture_for_every_schema() -> None:
    versions = [f"v{version}" for version in range(1, module.SCHEMA + 1)]
    assert versions == sorted(path.name for path in FIXTURES.iterdir())
    assert sorted(module.UPGRADES) == list(range(1, module.SCHEMA))


def test_upgrades_go_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCHEMA", 3)
    monkeypatch.setattr(module, "UPGRADES", {1: lambda d: d | {"a": 1}, 2: lambda d: d | {"a": d["a"] + 1}})
    assert module.upgrade({"schema_version": 1}, Path("x")) == {"schema_version": 3, "a": 2}
    assert module.upgrade({"schema_version": 2, "a": 5}, Path("x")) == {"schema_version": 3, "a": 6}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema_version": 99}, "has schema 99.*upgrade bench"),
        ({"schema_version": None}, "does not say which schema"),
        ({"id": "f" * 16}, "not the record its name says"),
        ({"status": "splendid"}, "cannot be read as a record"),
        ({"surprise": 1}, "cannot be read as a record"),
    ],
)
def test_a_record_that_is_none_stops_with_a_sentence(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    saved = record()
    with Store(tmp_path) as store:
        store.save(saved)
    path = tmp_path / "records" / f"{saved.id}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(OutputError, match=sentence):
        read_records(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00"])
def test_a_truncated_record_stops_with_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "records" / "0123456789abcdef.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(OutputError, match=r"0123456789abcdef.json .*(restore|delete) it"):
        read_records(tmp_path)


def test_a_truncated_influence_vector_stops_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "a.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(OutputError, match=r"a\.npz cannot be read"):
        read_array(tmp_path, "a", "influence")


def test_current_keeps_the_newest_of_each_request() -> None:
    old, new = record(revision="old"), record(revision="new", created="2026-01-02T00:00:00+00:00")
    other = record(nfe=8)
    assert {item.id for item in current([new, old, other])} == {new.id, other.id}
