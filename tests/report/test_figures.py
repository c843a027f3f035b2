"""What can be checked of a figure without eyes: texts that overlap or leave the page, sameness, missing data."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import synthetic
from matplotlib.figure import Figure
from synthetic import FD, PROTOCOL, cell, latency, measured, record, write

from bench.report import curves, pareto, samples, style
from bench.report.labels import Box
from bench.report.load import Results, load
from bench.report.pareto import Dot, front
from bench.report.sections import Section, sections
from bench.report.sheet import limits, wants_log


@pytest.fixture(scope="module", params=[False, True], ids=["spaced", "crowded"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Section, Results]:
    results = load(synthetic.twenty(tmp_path_factory.mktemp("run"), crowded=request.param))
    return sections(results.records)[0], results


def draw(kind: str, run: tuple[Section, Results], width: float) -> Figure:
    section, results = run
    made = {
        "quality": lambda: curves.figure(section, FD, width),
        "pareto": lambda: pareto.figure(section, width),
        "samples": lambda: samples.figure(section, results, width),
    }[kind]()
    assert made is not None
    made.canvas.draw()
    return made


def boxes(figure: Figure) -> dict[str, Box]:
    """Extents in inches of all texts that are shown, ticks and axis labels too."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    found = {}
    texts = list(figure.texts)
    for axes in figure.axes:
        if axes.axison:
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
                texts += [axis.label, *(tick.label1 for tick in ticks if tick.label1.get_visible())]
    for i, text in enumerate(texts):
        if text.get_text():
            box = text.get_window_extent(renderer)
            found[f"{i} {text.get_text()}"] = Box(*(value / figure.dpi for value in (box.x0, box.y0, box.x1, box.y1)))
    return found


@pytest.mark.parametrize("width", [style.COLUMN, style.PAGE])
@pytest.mark.parametrize("kind", ["quality", "pareto", "samples"])
def test_texts_neither_overlap_nor_leave_the_page(kind: str, run: tuple[Section, Results], width: float) -> None:
    with style.look(width):
        figure = draw(kind, run, width)
        found = boxes(figure)
    page = Box(0, 0, *figure.get_size_inches())
    assert figure.get_size_inches()[0] == width
    assert page.top < 9.0  # inches; fits on a page
    outside = [name for name, box in found.items() if not box.inside(page)]
    assert not outside
    touching = [(a, b) for (a, one), (b, two) in combinations(found.items(), 2) if one.overlap(two) > 1e-6]
    assert not touching


@pytest.mark.parametrize("kind", ["quality", "samples"])
def test_every_method_is_named(kind: str, run: tuple[Section, Results]) -> None:
    with style.look(style.COLUMN):
        figure = draw(kind, run, style.COLUMN)
    named = {text.get_gid() for text in figure.texts}
    assert {f"label {method}" for method in run[0].methods} <= named


def test_figures_are_the_same_bytes_for_the_same_records(tmp_path: Path) -> None:
    preview = np.random.default_rng(0).integers(0, 256, (10, 3, 8, 8), dtype=np.uint8)
    item = record(cell("ddim", 1), {FD: measured(1.0)})
    results = load(write(tmp_path, [item], preview={item.id: preview}))
    written = []
    for name in ("a", "b"):
        with style.look(style.COLUMN):
            figure = draw("samples", (sections(results.records)[0], results), style.COLUMN)
            written.append([path.read_bytes() for path in style.save(figure, tmp_path / name, "caption")])
    assert written[0] == written[1]
    assert b"<dc:date>" not in written[0][1]
    assert b"caption" in written[0][0] and b"caption" in written[0][1]


def test_styles_tell_twenty_methods_apart_in_print_too() -> None:
    found = style.styles(synthetic.TWENTY)
    assert len({(s.colour, s.marker) for s in found.values()}) == 20
    assert len({(s.marker, s.line) for s in found.values()}) == 20  # without colour


def dot(time: float, value: float, better: str = "lower") -> Dot:
    return Dot(f"m{time}", 1, time, measured(value, better=better))


def test_the_front_holds_what_nothing_beats() -> None:
    given = [dot(1, 9), dot(2, 5), dot(3, 6), dot(4, 5), dot(5, 1)]
    assert [d.time for d in front(given)] == [1, 2, 5]
    higher = [dot(1, 0.2, "higher"), dot(2, 0.1, "higher"), dot(3, 0.9, "higher")]
    assert [d.time for d in front(higher)] == [1, 3]
    assert front([]) == []


def test_an_axis_holds_values_and_intervals() -> None:
    some = [measured(10, 3), measured(20, 2)]
    assert limits(some, some, 0.0) == (7, 22, False)
    assert limits(some, some[1:], 0.1) == pytest.approx((10 - 1.2, 22 + 1.2, False))
    assert limits([measured(5, 1)], [measured(5, 1)], 0.0) == (4, 6, False)
    assert limits([measured(5, None)], [measured(5, None)], 0.1) == (4.5, 5.5, False)


def test_one_long_interval_is_cut_and_many_are_not() -> None:
    short, long = [measured(10 + i, 1) for i in range(5)], [measured(10 + i, 100) for i in range(5)]
    assert limits([*short, long[0]], [*short, long[0]], 0.0) == (8, 16, False)  # by half of 14 - 10
    assert limits(long, long, 0.0) == (-90, 114, False)


def test_a_logarithmic_axis_is_not_dragged_down_by_an_interval_that_reaches_zero() -> None:
    some = [measured(1, 0.5), measured(2, 2), measured(100, 50), measured(90, 200)]
    assert limits(some, some, 0.0) == pytest.approx((0.5, 290, True))


@pytest.mark.parametrize("kind", ["quality", "pareto"])
@pytest.mark.parametrize("low", [10.0, 200.0], ids=["logarithmic", "linear"])
def test_no_interval_is_cut_by_the_frame(kind: str, low: float, tmp_path: Path) -> None:
    ends = {("ddim", 1): 400.0, ("heun", 2): low}
    items = [record(cell(*where), {FD: measured(value, 0.3 * value)}) for where, value in ends.items()]
    items += [
        record(cell(*where, samples=0, metrics=(PROTOCOL,)), latency=(latency(1, 0.01 * where[1]),)) for where in ends
    ]
    results = load(write(tmp_path, items))
    with style.look(style.PAGE):
        for axes in draw(kind, (sections(results.records)[0], results), style.PAGE).axes:
            bottom, top = axes.get_ylim()
            assert bottom < 0.7 * low and top > 1.3 * 400


@pytest.mark.parametrize("width", [style.COLUMN, style.PAGE])
@pytest.mark.parametrize("half", [0.4, 1.5], ids=["short", "reaches 0"])
def test_labels_of_the_front_do_not_cover_its_bars(half: float, width: float, tmp_path: Path) -> None:
    items = [record(cell("ddim", nfe), {FD: measured(600.0 / nfe**1.6, half * 600 / nfe**1.6)}) for nfe in (1, 2, 4, 8)]
    items += [
        record(cell("ddim", nfe, samples=0, metrics=(PROTOCOL,)), latency=(latency(1, 0.01 * nfe),))
        for nfe in (1, 2, 4, 8)
    ]
    results = load(write(tmp_path, items))
    with style.look(width):
        figure = draw("pareto", (sections(results.records)[0], results), width)
        named = [box for name, box in boxes(figure).items() if re.fullmatch(r"\d+ ddim, \d", name)]
    (axes,) = figure.axes
    segments = [axes.transData.transform(bar.get_segments()[0]) / figure.dpi for bar in axes.collections]
    bars = [Box(x - 0.001, y0, x + 0.001, y1) for (x, y0), (_, y1) in segments]
    assert len(named) == len(bars) == 4
    assert all(name.overlap(bar) == 0 for name in named for bar in bars)


@pytest.mark.parametrize("width", [style.COLUMN, style.PAGE])
def test_a_long_suite_is_cut_on_the_figure(width: float, tmp_path: Path) -> None:
    suite = f"diffusers[model=/models/{'deep/' * 40}sd15,negative_prompt='{'blurry%2C ' * 40}']"
    item = record(cell("ddim", 1, suite=suite), {FD: measured(1.0)})
    results = load(write(tmp_path, [item], preview={item.id: np.zeros((4, 1, 8, 8), dtype=np.uint8)}))
    with style.look(width):
        for kind in ("quality", "samples"):
            figure = draw(kind, (sections(results.records)[0], results), width)
            (footer,) = [text.get_text() for text in figure.texts if text.get_gid() == "footer"]
            assert footer.startswith("Suite diffusers[model=/models/deep/")
            assert "…@5f5f5f5f; n = 2000" in footer.replace("\n", " ") and "negative" not in footer
            page = Box(0, 0, *figure.get_size_inches())
            assert all(box.inside(page) for box in boxes(figure).values())


def test_pictures_are_shown_where_nothing_has_a_number(tmp_path: Path) -> None:
    items = [record(cell(f"ddim[eta=0.{i:02}]", 1), {}) for i in range(20)]
    pictures = {item.id: np.zeros((4, 1, 8, 8), dtype=np.uint8) for item in items}
    results = load(write(tmp_path, items, preview=pictures))
    with style.look(style.PAGE):
        figure = draw("samples", (sections(results.records)[0], results), style.PAGE)
    assert sum((text.get_gid() or "").startswith("label ") for text in figure.texts) == 14


def test_a_log_axis_is_for_wide_positive_ranges() -> None:
    assert wants_log([1, 100])
    assert not wants_log([1, 10])
    assert not wants_log([0, 100])
    assert not wants_log([])


def test_nothing_to_draw_is_no_figure(tmp_path: Path) -> None:
    results = load(write(tmp_path, [record(cell("ddim", 1), {})]))
    (section,) = sections(results.records)
    assert curves.figure(section, FD, style.PAGE) is None
    assert pareto.figure(section, style.PAGE) is None
    assert samples.figure(section, results, style.PAGE) is None


@pytest.mark.parametrize("value", [0.0, -3.0, 5.0])
def test_a_single_point_is_drawn(value: float, tmp_path: Path) -> None:
    results = load(write(tmp_path, [record(cell("ddim", 1), {FD: measured(value, None)})]))
    (section,) = sections(results.records)
    with style.look(style.COLUMN):
        figure = curves.figure(section, FD, style.COLUMN)
        assert figure is not None
        figure.canvas.draw()


@pytest.mark.parametrize(("methods", "places"), [(["ddim"], [4]), (["ddim", "ddpm"], [4 / 2**0.05, 4 * 2**0.05])])
def test_one_line_stands_at_its_budget_and_two_on_either_side(
    methods: list[str], places: list[float], tmp_path: Path
) -> None:
    results = load(write(tmp_path, [record(cell(method, 4), {FD: measured(5.0)}) for method in methods]))
    with style.look(style.COLUMN):
        (axes,) = draw("quality", (sections(results.records)[0], results), style.COLUMN).axes
    assert sorted({float(line.get_xdata()[0]) for line in axes.lines}) == pytest.approx(places)


def test_pictures_stand_in_order_with_gaps() -> None:
    preview = np.stack([np.full((1, 2, 2), value, dtype=np.uint8) for value in (10, 20, 30)])
    strip = samples.strip(preview, 2)
    assert strip.shape == (2, 5, 3)
    assert strip[0, :, 0].tolist() == [10, 10, 255, 20, 20]
