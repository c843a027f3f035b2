from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from synthetic import ACCURACY, FD, PROTOCOL, cell, latency, measured, record, write

from bench.errors import OutputError
from bench.report.write import write_report


@pytest.fixture
def out(tmp_path: Path) -> Path:
    records = [
        record(cell(method, nfe), {FD: measured(10.0 / nfe + i), ACCURACY: measured(0.5, 0.1, "accuracy", "higher")})
        for i, method in enumerate(("ddim", "heun"))
        for nfe in (1, 2)
    ]
    records.append(record(cell("ddim", 1, samples=0, metrics=(PROTOCOL,)), latency=(latency(1, 0.01),)))
    return write(tmp_path / "run", records)


def test_everything_is_written_and_stays_until_something_changes(out: Path) -> None:
    report = write_report(out)
    names = {path.name for path in report.files}
    tables = {"table.md", "table.csv", "table.tex", "records.csv", "captions.txt"}
    figures = {
        f"{kind}-digits{width}.{suffix}"
        for kind in ("quality", "pareto")
        for width in ("", "-column")
        for suffix in ("png", "svg")
    }
    assert names == tables | figures
    assert report.folder == out / "report"
    frame = pd.read_csv(out / "report" / "table.csv")
    assert frame[(frame.method == "heun") & (frame.nfe == 2)].iloc[0][FD] == 6.0
    assert FD in (out / "report" / "captions.txt").read_text(encoding="utf-8")

    (out / "report" / "table.md").write_text("mine", encoding="utf-8")
    write_report(out)
    assert (out / "report" / "table.md").read_text(encoding="utf-8") == "mine"  # up to date: not written again
    write(out, [record(cell("ddpm", 1), {FD: measured(3.0)})])
    write_report(out)
    assert "ddpm" in (out / "report" / "table.md").read_text(encoding="utf-8")


def test_another_folder(out: Path, tmp_path: Path) -> None:
    report = write_report(out, tmp_path / "deep" / "paper")
    assert all(path.parent == tmp_path / "deep" / "paper" and path.is_file() for path in report.files)
    assert not (out / "report").exists()


def test_a_long_suite_has_short_file_names_that_differ(tmp_path: Path) -> None:
    words = "blurry%2C " * 40
    suites = [f"diffusers[model=/models/sd15,negative_prompt='{words}{end}']" for end in ("a", "b")]
    write(tmp_path, [record(cell("ddim", 1, suite=suite), {FD: measured(1.0)}) for suite in suites])
    names = [path.name for path in write_report(tmp_path).files]
    assert len(set(names)) == len(names) == 5 + 2 * 4
    assert all(len(name.encode()) <= 110 for name in names)
    assert all(name.startswith("quality-diffusers-model-models-sd15-neg") for name in names if "quality" in name)
    assert words in (tmp_path / "report" / "captions.txt").read_text(encoding="utf-8")


def test_a_metric_without_any_number_has_neither_a_figure_nor_a_table_of_dashes(tmp_path: Path) -> None:
    fid = "fid:inception@1a2b3c4d/n=2000/ref=none"
    fields = {"missing": {fid: "no weights; fetch them"}}
    write(tmp_path, [record(cell("ddim", 1, metrics=(fid, FD)), {FD: measured(1.0)}, **fields)])
    report = write_report(tmp_path)
    text = (report.folder / "table.md").read_text(encoding="utf-8")
    headings = [line for line in text.splitlines() if line.startswith("###")]
    assert headings == ["### digits, FD (digits-cnn)", "### digits, 1 evaluation, by FD (digits-cnn)"]
    assert "no weights; fetch them" in text
    captions = (report.folder / "captions.txt").read_text(encoding="utf-8")
    assert captions.startswith("quality-digits: FD (digits-cnn) against") and "fid" not in captions


def test_bad_input_is_one_sentence(out: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not a directory"):
        write_report(tmp_path / "none")
    with pytest.raises(OutputError, match="no records"):
        write_report(tmp_path)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot write"):
        write_report(out, tmp_path / "file")


def test_a_newer_schema_is_refused(out: Path) -> None:
    path = next((out / "records").glob("*.json"))
    path.write_text(
        path.read_text(encoding="utf-8").replace('"schema_version":1', '"schema_version":99'), encoding="utf-8"
    )
    with pytest.raises(OutputError, match="schema 99"):
        write_report(out)


def test_a_report_needs_no_torch(out: Path) -> None:
    code = (
        "import sys; from bench.cli.main import main; "
        f"code = main(['report', {str(out)!r}]); print('torch' in sys.modules, code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False 0"
    assert "FD (digits-cnn)" in done.stdout


@pytest.mark.parametrize("victim", ["table.csv", "quality-digits.png"])
def test_a_full_disk_leaves_no_half_written_file(
    out: Path, tmp_path: Path, victim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "paper"
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).name == victim:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match=f"{victim}: No space left"):
        write_report(out, folder)
    assert not (folder / victim).exists()
    assert not list(folder.glob(".*.tmp"))
    monkeypatch.undo()
    assert (folder / victim) in write_report(out, folder).files
