"""The figures of a section, at every width."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from bench.report import clips, curves, pareto, samples, style
from bench.report.chosen import remark
from bench.report.load import Results
from bench.report.provenance import lines
from bench.report.sections import Section

Draw = Callable[[float], Figure | None]


def _figures(section: Section, results: Results) -> dict[str, tuple[str, Draw]]:
    """Kind of figure -> what it shows, and how it is drawn at a width."""
    label = section.label(section.metric)
    return {
        "quality": (
            f"{label} against function evaluations, by family; bars are intervals, grey lines the other families.",
            partial(curves.figure, section, section.metric),
        ),
        "pareto": (
            f"{label} against latency; the line is the Pareto front of the values, labelled with method and NFE.",
            partial(pareto.figure, section),
        ),
        "samples": (
            "Samples from the same noise: each column of pictures starts from the same noise for every method.",
            partial(samples.figure, section, results),
        ),
    }


def draw(section: Section, slug: str, results: Results, folder: Path) -> tuple[list[Path], list[str]]:
    """Write the figures of a section; their files and captions."""
    files, captions = [], []
    for kind, (shows, make) in _figures(section, results).items():
        where = lines(section, (section.metric,), latency=kind == "pareto", ranks=False)
        left_out = "" if kind == "pareto" else remark(section, section.metric)
        text = " ".join(filter(None, [shows, left_out, *where]))
        for suffix, width in style.WIDTHS.items():
            with style.look(width):
                figure = make(width)
                if figure is not None:
                    files += style.save(figure, folder / f"{kind}-{slug}{suffix}", text)
        if figure is not None:
            captions.append(f"{kind}-{slug}: {text}")
    return files + _clips(section, slug, results, folder), captions


def _clips(section: Section, slug: str, results: Results, folder: Path) -> list[Path]:
    with style.look(style.PAGE):
        played = clips.frames(section, results, style.PAGE)
    if not played:
        return []
    text = " ".join(["Clips from the same noise.", *lines(section, (section.metric,), latency=False, ranks=False)])
    return [clips.save(played, folder / f"clips-{slug}.gif", text)]
