from __future__ import annotations

import fcntl
import json
import runpy
import sys
from pathlib import Path

import pytest

from bench.errors import OutputError, UsageError
from bench.vbench import setup as made
from bench.vbench.environment import MARKER, VBenchError, find
from bench.vbench.setup import REQUIREMENTS, choose_python, setup

pytest.importorskip("av")

MAKE = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "vbench_stand_in.py"))["make"]


class Steps:
    """Stands for pip and venv: an environment with the stand-in appears, or a step fails."""

    def __init__(self, folder: Path, fail: str = "") -> None:
        self.folder, self.fail = folder, fail
        self.taken: list[str] = []

    def __call__(self, command: list[str], what: str, say: made.Say) -> None:
        say(what)
        self.taken.append(what.partition(" in ")[0])
        if self.fail and self.fail in what:
            raise VBenchError(f"{what}: failed with code 1")
        if "virtual environment" in what:
            MAKE(self.folder).rename(Path(command[-1]))
            (Path(command[-1]) / MARKER).unlink()


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    found = Steps(tmp_path / "made")
    monkeypatch.setattr(made, "_step", found)
    monkeypatch.setattr(made, "PYTHONS", {kind: (sys.version_info[:2],) for kind in made.PYTHONS})
    return found


def test_an_environment_is_made_tried_out_and_moved(tmp_path: Path, steps: Steps) -> None:
    said: list[str] = []
    place = tmp_path / "deep" / "vbench"
    found = setup(place, "minimal", said.append)
    assert find(place) == found
    assert found.marker.kind == "minimal"
    assert found.marker.dimensions["temporal_flickering"] == ""
    assert "ModuleNotFoundError" in found.marker.dimensions["scene"]
    assert sorted(each.name for each in place.parent.iterdir()) == ["vbench", "vbench.lock"]
    assert not place.with_name("vbench.partial").exists()
    assert said[-1] == "importing the dimensions"


def test_what_is_there_is_only_tried_out(tmp_path: Path, steps: Steps) -> None:
    setup(tmp_path / "vbench", "minimal", lambda _: None)
    steps.taken.clear()
    said: list[str] = []
    setup(tmp_path / "vbench", "minimal", said.append)
    assert steps.taken == []
    assert said == [f"{tmp_path / 'vbench'} is there", "importing the dimensions"]


def test_an_interrupted_setup_goes_on_from_where_it_was(tmp_path: Path, steps: Steps) -> None:
    steps.fail = "installing what temporal_flickering"
    with pytest.raises(VBenchError, match="failed with code 1"):
        setup(tmp_path / "vbench", "minimal", lambda _: None)
    assert not (tmp_path / "vbench").exists(), "nothing half-made stands at the place"
    assert (tmp_path / "vbench.partial").is_dir()
    steps.fail = ""
    steps.taken.clear()
    setup(tmp_path / "vbench", "minimal", lambda _: None)
    assert not any("virtual environment" in step for step in steps.taken)
    assert (tmp_path / "vbench" / MARKER).is_file()


def test_a_changed_list_of_packages_makes_it_anew(tmp_path: Path, steps: Steps) -> None:
    place = tmp_path / "vbench"
    setup(place, "minimal", lambda _: None)
    data = json.loads((place / MARKER).read_text())
    (place / MARKER).write_text(json.dumps(data | {"lock": "1" * 64}))
    (place / "old").write_text("")
    steps.taken.clear()
    setup(place, "minimal", lambda _: None)
    assert any("virtual environment" in step for step in steps.taken)
    assert not (place / "old").exists()
    assert not place.with_name("vbench.old").exists()


def test_a_full_one_serves_when_a_minimal_one_is_asked_for(
    tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made, "DIMENSIONS", {"temporal_flickering": made.DIMENSIONS["temporal_flickering"]})
    place = MAKE(tmp_path)
    data = json.loads((place / MARKER).read_text())
    (place / MARKER).write_text(json.dumps(data | {"lock": made._hash(made.lock_of("full"))}))
    assert setup(place, "minimal", lambda _: None).marker.kind == "full"
    assert steps.taken == []


def test_an_environment_that_cannot_be_imported_is_not_put_in_place(tmp_path: Path, steps: Steps) -> None:
    with pytest.raises(
        VBenchError, match=r"cannot be imported \(subject_consistency: Module.*; delete it and try again$"
    ):
        setup(tmp_path / "vbench", "full", lambda _: None)
    assert not (tmp_path / "vbench").exists()


def test_another_setup_at_the_same_time_is_a_sentence(tmp_path: Path, steps: Steps) -> None:
    with (tmp_path / "vbench.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another bench vbench setup is making"):
            setup(tmp_path / "vbench", "minimal", lambda _: None)


def test_a_place_with_something_else_is_left_alone(tmp_path: Path, steps: Steps) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="holds something that is not VBench's environment"):
        setup(tmp_path / "home", "minimal", lambda _: None)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "x"
    with pytest.raises(UsageError, match="holds something"):
        setup(tmp_path / "home" / "thesis.tex", "minimal", lambda _: None)


def test_a_place_that_cannot_be_written(tmp_path: Path, steps: Steps) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make"):
        setup(tmp_path / "file" / "vbench", "minimal", lambda _: None)


def test_the_right_python_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_python("minimal", sys.executable) == sys.executable or sys.version_info >= (3, 13)
    with pytest.raises(UsageError, match=r"--python /nonexistent is not Python 3\.11, which"):
        choose_python("full", "/nonexistent")
    monkeypatch.setattr(made, "PYTHONS", {"full": ((2, 7),)})
    monkeypatch.setattr(made.shutil, "which", lambda _: None)
    with pytest.raises(UsageError, match=r"needs Python 2\.7, and none is on the path"):
        choose_python("full", None)


def test_a_step_that_fails_is_a_sentence() -> None:
    with pytest.raises(VBenchError, match="installing: failed with code 3; see above"):
        made._step([sys.executable, "-c", "raise SystemExit(3)"], "installing", lambda _: None)
    with pytest.raises(VBenchError, match="cannot start /nonexistent"):
        made._step(["/nonexistent"], "installing", lambda _: None)


def test_the_lists_of_packages_are_exact() -> None:
    for kind in ("minimal", "full"):
        lines = [line for line in (REQUIREMENTS / f"{kind}.txt").read_text().splitlines() if not line.startswith("#")]
        assert all(line.count("==") == 1 for line in lines)
    full = (REQUIREMENTS / "full.txt").read_text().splitlines()
    for pin in ("vbench==0.1.5", "numpy==1.26.4", "transformers==4.33.2", "timm==1.0.12"):
        assert pin in full
