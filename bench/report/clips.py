"""The grid of samples in motion: one GIF that plays the clips of all methods and budgets side by side."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.report.load import Results
from bench.report.samples import by_cell, sheet_of, shown, strip
from bench.report.sections import Section
from bench.store import write_durable

PER_SECOND = 8
DPI = 150  # of a screen; print has the grid of samples


def frames(section: Section, results: Results, width: float) -> list[NDArray[np.uint8]]:
    """(H, W, 3) pictures of the whole grid, frame by frame; empty if the suite has no clips.

    Args:
        width: inches.
    """
    found = by_cell(section, results.clips)
    if not found:
        return []
    count = shown(found.values(), width)
    figure, images = sheet_of({key: strip(clips[:, 0], count) for key, clips in found.items()}, section, width)
    figure.set_dpi(DPI)
    canvas: Any = figure.canvas  # matplotlib's has no types
    played = []
    for number in range(min(clips.shape[1] for clips in found.values())):
        for key, image in images.items():
            image.set_data(strip(found[key][:, number], count))
        canvas.draw()
        played.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return played


def save(played: list[NDArray[np.uint8]], path: Path, caption: str) -> Path:
    """Write a GIF that repeats; the caption travels inside.

    Raises:
        OutputError: the file cannot be written.
    """
    height = played[0].shape[0]
    film = Image.fromarray(np.concatenate(played)).quantize(256)  # all frames share one palette, or colours flicker
    still = [film.crop((0, top, film.width, top + height)) for top in range(0, film.height, height)]
    buffer = io.BytesIO()
    still[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=still[1:],
        duration=1000 // PER_SECOND,
        loop=0,
        comment=caption.encode(),
    )
    write_durable(path, buffer.getvalue())
    return path
