from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.vbench import results
from bench.vbench.client import Scores
from bench.vbench.dimensions import DIMENSIONS
from bench.vbench.results import as_official, read, read_zip

OFFICIAL = {
    name: [0.01 * (50 + number), [{"video_path": f"{number}.mp4", "video_results": 0.5}]]
    for number, name in enumerate(DIMENSIONS)
}


def pack(path: Path, files: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


def test_one_file_with_all_dimensions(tmp_path: Path) -> None:
    path = tmp_path / "model_eval_results.json"
    path.write_text(json.dumps(OFFICIAL), encoding="utf-8")
    (found,) = read(path)
    assert found.name == "model"
    assert found.scores == {name: value[0] for name, value in OFFICIAL.items()}


@pytest.mark.parametrize("folder", ["", "results/", "a/b/"])
def test_a_zip_with_one_file_per_dimension(tmp_path: Path, folder: str) -> None:
    files = {f"{folder}results_{name}_eval_results.json": json.dumps({name: value}) for name, value in OFFICIAL.items()}
    others = {
        f"{folder}x_full_info.json": json.dumps([{"prompt_en": "a cat"}]),
        "__MACOSX/._x.json": b"\x00\x05\x16\x07",
        f"{folder}.DS_Store": b"\x00",
        f"{folder}log.txt": "x",
    }
    (found,) = read(pack(tmp_path / "model.zip", {**files, **others}))
    assert found.scores == {name: value[0] for name, value in OFFICIAL.items()}


def test_names_with_spaces_and_bare_numbers(tmp_path: Path) -> None:
    (found,) = read(pack(tmp_path / "m.zip", {"a.json": json.dumps({"object class": 0.5, "scene": [0, []]})}))
    assert found.scores == {"object_class": 0.5, "scene": 0.0}


def test_a_dimension_without_a_mean_has_no_number_and_says_which_clips_are_missing(tmp_path: Path) -> None:
    rows = [{"video_path": "a.mp4", "video_results": 0.5}]
    rows += [{"video_path": name, "video_results": None, "why": "it is broken"} for name in ("b.mp4", "c.mp4")]
    path = tmp_path / "x_eval_results.json"
    path.write_text(json.dumps({"scene": [0.25, []], "color": [None, rows]}), encoding="utf-8")
    (found,) = read(path)
    assert found.scores == {"scene": 0.25}
    assert found.unscored == {"color": "2 of 3 videos could not be scored, first b.mp4: it is broken"}
    (zipped,) = read(pack(tmp_path / "x.zip", {"a.json": path.read_bytes()}))
    assert (zipped.scores, zipped.unscored) == (found.scores, found.unscored)


def test_what_evaluate_writes_is_read_back() -> None:
    whole = Scores("scene", 0.5, {Path("x/a.mp4"): 0.5}, {})
    partial = Scores("color", 0.5, {Path("x/a.mp4"): 0.5}, {Path("x/b.mp4"): "it is broken"})
    assert as_official([whole]) == {"scene": [0.5, [{"video_path": "a.mp4", "video_results": 0.5}]]}
    mean, (_, missing) = as_official([partial])["color"]
    assert mean is None
    assert missing == {"video_path": "b.mp4", "video_results": None, "why": "it is broken"}


@pytest.mark.parametrize("name", ["../evil.json", "/etc/x.json", "a/../../evil.json", "..\\evil.json", "C:\\evil.json"])
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / "m.zip", {"a.json": json.dumps(OFFICIAL), name: "{}"})
    with pytest.raises(UsageError, match="a path that leads out of it"):
        read(path)
    assert [each.name for each in tmp_path.iterdir()] == ["m.zip"]


def test_large_archives_are_refused_before_and_while_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tmp_path / "m.zip", {"a.json": "{" + " " * 5000 + "}"})
    monkeypatch.setattr(results, "TOTAL_BYTES", 4000)
    with pytest.raises(UsageError, match="is larger than results of VBench are"):
        read(path)
    monkeypatch.setattr(results, "TOTAL_BYTES", 2**20)
    monkeypatch.setattr(results, "MEMBER_BYTES", 4000)
    with pytest.raises(UsageError, match=r"a\.json is larger than"):
        read(path)
    monkeypatch.setattr(results, "MEMBERS", 1)
    with pytest.raises(UsageError, match="1 files"):
        read(pack(tmp_path / "n.zip", {"a.json": "{}", "b.json": "{}"}))


def test_a_header_that_lies_about_the_size_does_not_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zip bombs state a small size; what counts is what comes out."""
    monkeypatch.setattr(results, "MEMBER_BYTES", 4000)
    data = pack(tmp_path / "m.zip", {"a.json": "{" + " " * 100_000 + "}"}).read_bytes()
    small = data.replace((100_002).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    assert small != data
    (tmp_path / "m.zip").write_bytes(small)
    with pytest.raises(UsageError, match=r"cannot be read|larger than"):
        read(tmp_path / "m.zip")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"a.json": "{not json"}, "is not JSON"),
        ({"a.json": json.dumps({"scene": "high"})}, "scene is not a score"),
        ({"a.json": json.dumps({"scene": [True, []]})}, "scene is not a score"),
        ({"a.json": json.dumps({"scene": [None, []]})}, "scene is not a score"),
        ({"a.json": json.dumps({"scene": [None, ["a.mp4"]]})}, "scene is not a score"),
        ({"a.json": json.dumps({"scene": None})}, "scene is not a score"),
        ({"a.json": json.dumps({"i2v_subject": [0.5, []]})}, "i2v_subject is not one of the 16 dimensions"),
        ({"a.json": '{"scene": 0.5}', "b.json": '{"scene": 0.6}'}, "scene is 0.6 here and 0.5 in another file"),
        ({"a.txt": "x"}, "holds no"),
        ({}, "holds no"),
    ],
)
def test_other_content_is_a_sentence(tmp_path: Path, files: dict[str, bytes | str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        read(pack(tmp_path / "m.zip", files))
    assert "\n" not in str(caught.value)


def test_damaged_files_are_a_sentence(tmp_path: Path) -> None:
    whole = pack(tmp_path / "m.zip", {"a.json": json.dumps(OFFICIAL)}).read_bytes()
    (tmp_path / "m.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="cannot be read as a zip"):
        read_zip(tmp_path / "m.zip")
    changed = bytearray(whole)
    changed[60] ^= 0xFF
    (tmp_path / "m.zip").write_bytes(changed)
    with pytest.raises(UsageError, match=r"a\.json cannot be read"):
        read_zip(tmp_path / "m.zip")
    (tmp_path / "m.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not JSON"):
        read(tmp_path / "m.json")
    with pytest.raises(UsageError, match="is not there"):
        read(tmp_path / "absent.zip")


def test_an_encrypted_member_is_a_sentence(tmp_path: Path) -> None:
    data = bytearray(pack(tmp_path / "m.zip", {"a.json": "{}"}).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    (tmp_path / "m.zip").write_bytes(data)
    with pytest.raises(UsageError, match=r"a\.json cannot be read"):
        read_zip(tmp_path / "m.zip")


def test_a_zip_is_known_by_its_content(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.json", json.dumps({"scene": [0.5, []]}))
    (tmp_path / "results").write_bytes(buffer.getvalue())
    assert read(tmp_path / "results")[0].scores == {"scene": 0.5}
