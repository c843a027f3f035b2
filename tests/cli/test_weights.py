"""``bench weights``: what it prints, and how it ends."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import main as shell
from bench.cli import weights as cli
from bench.errors import ExitCode
from bench.weightstore import download, manifest
from bench.weightstore.manifest import Entry

DATA = b"weights"


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Entry]:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    sure = Entry(
        "sure", "sure.bin", ("https://host/sure.bin",), "MIT", "tests",
        size=len(DATA), sha256=hashlib.sha256(DATA).hexdigest(), groups=("both",),
    )  # fmt: skip
    made = {"sure": sure, "other": replace(sure, name="other", file="other.bin", sha256="0" * 64)}
    monkeypatch.setattr(manifest, "entries", lambda: made)
    monkeypatch.setattr("bench.weightstore.store.entries", lambda: made)
    monkeypatch.setattr("bench.weightstore.bring.entries", lambda: made)
    return made


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    path = tmp_path / "brought.bin"
    path.write_bytes(DATA)
    return path


def test_the_list(known, brought, capsys) -> None:
    assert shell.main(["weights", "import", str(brought)]) == 0
    assert capsys.readouterr().out.startswith("sure  ")
    assert shell.main(["weights", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "SIZE", "HASH", "FOR", "LICENCE"]
    assert lines[1].split()[:4] == ["sure", "here", "7", "B"] and lines[2].split()[:2] == ["other", "-"]


def test_the_list_as_data(known, capsys) -> None:
    assert shell.main(["weights", "list", "both", "--json"]) == 0
    first, _ = json.loads(capsys.readouterr().out)
    assert (first["name"], first["state"], first["sha256"]) == ("sure", "-", known["sure"].sha256)


def test_states(known, tmp_path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "sure.bin.part").write_bytes(b"wei")
    assert cli.state(known["sure"]) == "partial"
    (folder / "sure.bin").write_bytes(DATA)
    assert cli.state(known["sure"]) == "unverified"


@pytest.mark.parametrize(
    ("count", "text"), [(None, "?"), (48, "48 B"), (6009, "6.01 kB"), (95628359, "95.6 MB"), (1217586395, "1.22 GB")]
)
def test_sizes(count: int | None, text: str) -> None:
    assert cli.size(count) == text


def test_verify(known, brought, tmp_path, capsys) -> None:
    assert shell.main(["weights", "import", str(brought)]) == 0
    capsys.readouterr()
    assert shell.main(["weights", "verify"]) == 0
    assert capsys.readouterr().out == "sure  right (known)\n"
    assert shell.main(["weights", "verify", "both"]) == ExitCode.ASSET
    assert "other  missing" in capsys.readouterr().out
    (tmp_path / "weights" / "sure.bin").write_bytes(b"changed")
    assert shell.main(["weights", "verify"]) == ExitCode.ASSET
    assert capsys.readouterr().out.startswith("sure  WRONG: ")


def test_verify_of_nothing(known, capsys) -> None:
    assert shell.main(["weights", "verify"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "no weights are here, so nothing was verified" in captured.err


def test_verify_where_nothing_can_be_written(known, tmp_path, capsys) -> None:
    (tmp_path / "weights" / ".lock.json.tmp").mkdir(parents=True)  # so that lock.json cannot be written, even by root
    (tmp_path / "weights" / "sure.bin").write_bytes(DATA)
    assert shell.main(["weights", "verify"]) == 0
    assert capsys.readouterr().out == "sure  right (known)\n"


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (["fetch"], ExitCode.USAGE, "name the weights to fetch"),
        (["fetch", "sur"], ExitCode.USAGE, "unknown weights 'sur'; did you mean sure?"),
        (["fetch", "sure"], ExitCode.ASSET, "sure is not here and BENCH_OFFLINE is set"),
        (["fetch", "both"], ExitCode.ASSET, "2 of 2 were not fetched, see above"),
        (["import", "a", "b", "--as", "sure"], ExitCode.USAGE, "--as sure can name one file only, not 2"),
        (["import", "/none"], ExitCode.USAGE, "there is no file /none"),
    ],
)
def test_how_it_ends(known, capsys, line: list[str], code: int, said: str) -> None:
    assert shell.main(["weights", *line]) == code
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_fetch_names_the_file(known, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(download, "fetch", lambda entry, trust, tell: tell(7, 7) or tmp_path / entry.file)
    assert shell.main(["weights", "fetch", "sure"]) == 0
    assert capsys.readouterr().out == f"sure  {tmp_path / 'sure.bin'}\n"


def test_one_of_many_that_fails_does_not_stop_the_others(known, brought, tmp_path, capsys) -> None:
    bad = tmp_path / "bad.bin"
    bad.write_bytes(b"bad")
    assert shell.main(["weights", "import", str(bad), str(brought)]) == ExitCode.ASSET
    captured = capsys.readouterr()
    assert captured.out.startswith("sure  ") and "1 of 2 were not imported" in captured.err


def test_a_folder_among_the_files_is_skipped(known, brought, tmp_path, capsys) -> None:
    (tmp_path / "a-folder").mkdir()
    assert shell.main(["weights", "import", str(tmp_path / "a-folder"), str(brought)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("sure  ") and captured.err == f"note: {tmp_path / 'a-folder'} is a folder: skipped\n"
    assert shell.main(["weights", "import", str(tmp_path / "a-folder")]) == ExitCode.USAGE
    assert "a-folder is a folder; name the files of weights" in capsys.readouterr().err


def test_a_file_that_is_not_there_does_not_stop_the_others(known, brought, tmp_path, capsys) -> None:
    assert shell.main(["weights", "import", str(tmp_path / "none"), str(brought)]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.out.startswith("sure  ") and "1 of 2 were not imported" in captured.err
    (tmp_path / "bad").write_bytes(b"bad")
    assert shell.main(["weights", "import", str(tmp_path / "bad"), str(tmp_path / "none")]) == ExitCode.ASSET


def test_the_group_alone_is_help(capsys) -> None:
    assert shell.main(["weights"]) == 0
    out = capsys.readouterr().out
    assert "nothing is downloaded without being" in out and "verify" in out


def test_names_are_completed() -> None:
    assert "vbench-raft" in cli.complete_name("vb") and "vbench" in cli.complete_name("vb")


def test_looking_at_the_list_needs_neither_torch_nor_numpy(bench, tmp_path) -> None:
    script = tmp_path / "sitecustomize.py"
    script.write_text("import sys\nsys.modules['torch'] = sys.modules['numpy'] = None\n")
    done = bench("weights", "list", "image", path=(tmp_path,), env={"BENCH_WEIGHTS": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "inception-v3-tf" in done.stdout
