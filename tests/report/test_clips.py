"""The GIF plays every clip at its place, frame by frame, in colours that do not flicker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import FD, cell, measured, record, write

from bench.report import clips, samples, style
from bench.report.load import Results, load
from bench.report.write import write_report


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two methods whose clips are three frames of one grey each."""
    items = [record(cell(method, 2), {FD: measured(value)}) for method, value in (("ddim", 1.0), ("heun", 2.0))]
    greys = {"ddim": (0, 100, 200), "heun": (50, 150, 250)}
    films = {
        item.id: np.stack([np.full((4, 3, 8, 8), grey, dtype=np.uint8) for grey in greys[item.cell.method]], axis=1)
        for item in items
    }
    return write(tmp_path, items, clips=films, preview={name: film[:, 0] for name, film in films.items()})


def played(results: Results) -> list[np.ndarray]:
    from bench.report.sections import sections

    (section,) = sections(results.records)
    with style.look(style.PAGE):
        return clips.frames(section, results, style.PAGE)


def test_each_frame_shows_the_clips_of_all_methods_at_that_time(run: Path) -> None:
    frames = played(load(run))
    for frame, greys in zip(frames, [(0, 50), (100, 150), (200, 250)], strict=True):
        areas = {grey: np.count_nonzero((frame == grey).all(axis=-1)) for grey in range(0, 251, 50)}
        first, second = (areas.pop(grey) for grey in greys)
        assert abs(first - second) < 0.05 * first
        assert max(areas.values()) < 0.05 * first  # edges of letters are grey too


def test_the_report_has_a_gif_that_repeats(run: Path) -> None:
    report = write_report(run)
    (path,) = [path for path in report.files if path.suffix == ".gif"]
    with Image.open(path) as film:
        assert (film.n_frames, film.info["loop"]) == (3, 0)
        assert b"Clips from the same noise" in film.info["comment"]
        film.seek(2)
        last = np.asarray(film.convert("RGB"))
    assert np.abs(last.astype(int) - played(load(run))[2]).max() <= 8  # a palette of 256 colours


def test_pictures_have_no_gif(tmp_path: Path) -> None:
    item = record(cell("ddim", 1), {FD: measured(1.0)})
    results = load(write(tmp_path, [item], preview={item.id: np.zeros((4, 1, 8, 8), dtype=np.uint8)}))
    assert played(results) == []


def test_wide_pictures_are_fewer() -> None:
    square, wide = np.zeros((10, 3, 8, 8)), np.zeros((10, 3, 8, 16))
    assert samples.shown([square], style.PAGE) == 8
    assert samples.shown([wide], style.PAGE) == 4
    assert samples.shown([wide], style.COLUMN) == 2
    assert samples.shown([np.zeros((10, 3, 8, 200))], style.COLUMN) == 2
    assert samples.shown([square, np.zeros((3, 3, 8, 8))], style.PAGE) == 3
