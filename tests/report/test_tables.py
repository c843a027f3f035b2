from __future__ import annotations

import io
import re
from pathlib import Path

import pandas as pd
import pytest
from synthetic import ACCURACY, FD, PROTOCOL, cell, latency, measured, record, write

from bench.record import FitCost, Latency, Record, Status
from bench.report.formats import latex, latex_text, markdown
from bench.report.frames import ranked_frame, records_frame
from bench.report.load import Results, load
from bench.report.sections import Section, sections
from bench.report.terminal import fit, show, show_table
from bench.report.texttable import TextTable, ranked_table, summary_table
from bench.report.timing_table import latency_tables
from bench.report.write import write_report


@pytest.fixture
def small(tmp_path: Path) -> tuple[Section, Results]:
    """Two methods at one and two evaluations, computed by hand below."""
    costs = FitCost(fit_evals=12800, fit_images=100, fit_seconds=2.5)
    records = [
        record(cell("ddim", 1), {FD: measured(20.0, 0.5), ACCURACY: measured(0.5, 0.02, "class accuracy", "higher")}),
        record(cell("ddim", 2), {FD: measured(10.0, 0.5)}),
        record(cell("progressive", 1), {FD: measured(7.9, 0.5)}, fit=costs),
        record(cell("progressive", 2), status=Status.UNSUPPORTED, reason="no artifact for 2 | evaluations"),
        record(cell("ddim", 1, samples=0, metrics=(PROTOCOL,)), latency=(latency(1, 0.004), latency(64, 0.08))),
    ]
    results = load(write(tmp_path, records))
    return sections(results.records)[0], results


def test_summary_values(small: tuple[Section, Results]) -> None:
    table = summary_table(small[0], FD, small[1])
    assert table.headers == ["method", "NFE 1", "NFE 2"]
    assert table.rows == [
        ["ddim", "20.0 [19.5, 20.5]", "10.0 [9.5, 10.5]"],
        ["progressive", "7.9 [7.4, 8.4]", "unsupported [1]"],
    ]
    assert table.notes == ["unsupported: no artifact for 2 | evaluations"]
    assert table.best == {(1, 1), (0, 2)}


def test_ranked_values(small: tuple[Section, Results]) -> None:
    table = ranked_table(small[0], 1, small[1])
    dash = "–"
    assert table.headers[:4] == ["rank", "method", "FD (digits-cnn)", "class accuracy"]
    assert table.headers[4:] == ["ms b=1", "ms b=64", "img/s b=64", "fit evals", "fit s"]
    assert table.rows[0] == ["1", "progressive", "7.9 [7.4, 8.4]", dash, dash, dash, dash, "12\u202f800", "2.50"]
    assert table.rows[1][:4] == ["2", "ddim", "20.0 [19.5, 20.5]", "0.50 [0.48, 0.52]"]
    assert table.rows[1][4:] == ["4.00", "80.0", "800", dash, dash]


def test_a_gap_is_a_dash_that_says_why_and_a_note_is_shown(tmp_path: Path) -> None:
    missing = {ACCURACY: "weights x are not here; run bench weights fetch x"}
    halved = "generating 8 samples at once ran out of GPU memory, so 4 were"
    records = [
        record(cell("ddim", 1), {FD: measured(20.0, 0.5)}, missing=missing, notes=(halved,)),
        record(cell("heun", 1), {FD: measured(30.0, 0.5)}, missing=missing),
    ]
    results = load(write(tmp_path, records))
    table = ranked_table(sections(results.records)[0], 1, results)
    assert [row[2:4] for row in table.rows] == [["20.0 [19.5, 20.5] [1]", "– [2]"], ["30.0 [29.5, 30.5]", "– [2]"]]
    assert table.notes == [halved, missing[ACCURACY]]


@pytest.mark.parametrize("command", ["table", "files"])
def test_a_run_whose_ranking_metric_has_no_number_is_reported_all_the_same(tmp_path: Path, command: str) -> None:
    records = [record(cell("ddim", nfe), {}, missing={FD: "no weights", ACCURACY: "none"}) for nfe in (1, 2)]
    results = load(write(tmp_path, records))
    if command == "files":
        write_report(tmp_path)
        assert "no weights" in (tmp_path / "report" / "table.md").read_text()
        return
    table = ranked_table(sections(results.records)[0], 1, results)
    assert table.rows[0][:4] == ["–", "ddim", "– [1]", "– [2]"]


def test_footers_state_where_numbers_come_from(small: tuple[Section, Results]) -> None:
    text = "\n".join(ranked_table(small[0], 1, small[1]).footer)
    for part in ("digits", "n = 2000", "seeds 0", FD, ACCURACY, "jackknife", PROTOCOL, "Some CPU", "torch 2.9.1"):
        assert part in text


def test_markdown_round_trip(small: tuple[Section, Results]) -> None:
    table = summary_table(small[0], FD, small[1])
    lines = [line for line in markdown(table).splitlines() if line.startswith("| ")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    plain = [[re.sub(r"\\(.)", r"\1", cell.strip().replace("**", "")) for cell in row] for row in cells]
    assert plain[0] == table.headers
    assert plain[2:] == table.rows


def test_csv_round_trip(small: tuple[Section, Results]) -> None:
    text = ranked_frame([small[0]], small[1]).to_csv(index=False)
    frame = pd.read_csv(io.StringIO(text)).set_index(["method", "nfe"])
    assert frame.loc[("progressive", 1), FD] == 7.9
    assert frame.loc[("progressive", 1), f"{FD} low"] == pytest.approx(7.4)
    assert frame.loc[("progressive", 1), "rank"] == 1
    assert frame.loc[("ddim", 1), "rank"] == 2
    assert frame.loc[("ddim", 1), "p50 seconds, batch 64"] == 0.08
    assert pd.isna(frame.loc[("progressive", 2), FD])
    assert pd.isna(frame.loc[("progressive", 2), "rank"])
    assert frame.loc[("progressive", 2), "status"] == "unsupported"


def test_long_form_has_every_number_with_its_id(small: tuple[Section, Results]) -> None:
    frame = records_frame(small[1].records)
    row = frame[(frame.method == "progressive") & (frame.metric == FD)].iloc[0]
    assert (row.value, row.low, row.high, row.fit_evals) == pytest.approx((7.9, 7.4, 8.4, 12800))
    missing = frame[frame.status == "unsupported"].metric
    assert len(missing) and missing.isna().all()  # None in pandas 2, nan in pandas 3
    p50 = frame[(frame.metric == PROTOCOL) & (frame.label == "p50")]
    assert sorted(p50.value) == [0.004, 0.08]
    assert "p99" not in set(frame.label)  # it was not measured


def test_every_value_of_the_long_form_is_a_number() -> None:
    entry = latency(4, 0.1).model_copy(
        update={
            "mode": "graph",
            "fallback": "the text encoder ran eagerly",
            "stages": {"denoiser": 0.08, "solver": 0.002},
            "clocks": {"governor": "performance"},
            "samples": {"power": (1.0, None)},
        }
    )
    timed = record(cell("ddim", 1, samples=0, metrics=(PROTOCOL,)), latency=(entry,))
    frame = pd.read_csv(io.StringIO(records_frame([timed]).to_csv(index=False)))
    assert frame.value.dtype == float
    found = dict(zip(frame.label, frame.value, strict=True))
    assert (found["stages denoiser"], found["stages solver"], found["runs"]) == (0.08, 0.002, 40)
    assert set(found) == {"runs", "cold", "p50", "p90", "images_per_second", "stages denoiser", "stages solver"}


def test_several_seeds_are_told(tmp_path: Path) -> None:
    records = [
        record(cell("ddim", 1, 0), {FD: measured(1.0)}),
        record(cell("ddim", 1, 1), {FD: measured(3.0)}),
        record(cell("heun", 1, 0), {FD: measured(9.0)}),
        record(cell("heun", 1, 1), status=Status.CRASHED, reason="signal 11"),
    ]
    results = load(write(tmp_path, records))
    table = ranked_table(sections(results.records)[0], 1, results)
    assert table.rows[0][2] == "2.0 [1.6, 2.4]"  # 0.5 sqrt(2) / 2 = 0.35
    assert table.rows[1][2] == "9.0 [8.5, 9.5] [1] [2]"
    assert table.notes == ["crashed: signal 11", "mean over 1 of 2 seeds"]
    assert "seeds 0, 1" in table.footer[0]


@pytest.mark.parametrize("text", [r"a_b%c&d#e$f~g^h\i{j}", 'x < y > z | "q"', "7.9 – 8.4 × 3 ≥ 2 ±", "日本"])
def test_latex_text_has_nothing_left_to_interpret(text: str) -> None:
    bare = re.sub(r"\\[%&#$_{}]|\\text[a-z]+\{\}|\$\\[a-z]+\$|\\,", "", latex_text(text))
    assert not re.search(r"[\\%&#$_~^{}<>|\"]", bare)
    assert all(ord(char) < 256 for char in bare)


def test_latex_is_balanced_and_has_one_ampersand_per_gap(small: tuple[Section, Results]) -> None:
    text = latex(summary_table(small[0], FD, small[1]))
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert re.findall(r"\\begin\{(\w+)\}", text) == re.findall(r"\\end\{(\w+)\}", text)[::-1]
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [2, 2, 2]
    assert r"\textbf{7.9} {\scriptsize[7.4, 8.4]}" in text
    assert r"unsupported\textsuperscript{1}" in text
    assert r"\toprule" in text and r"\bottomrule" in text


def test_latency_of_two_machines_is_two_tables() -> None:
    def timed(hardware: str, **fields: object) -> Record:
        return record(cell("ddim", 1, samples=0, metrics=(PROTOCOL[:-8] + hardware,)), **fields)

    full = Latency(
        batch=64,
        runs=40,
        cold=0.5,
        p50=0.1,
        p50_low=0.09,
        p50_high=0.11,
        p90=0.2,
        images_per_second=640,
        denoiser_share=0.93,
        peak_memory_bytes=3 << 20,
    )
    tables = latency_tables([timed("00000001", latency=(full,)), timed("00000002", status=Status.OOM, reason="memory")])
    assert [table.rows for table in tables] == [
        [["ddim", "1", "64", "100 [90.0, 110]", "640", "200", "–", "500", "40", "93%", "3.00"]],
        [["ddim", "1", "–", "oom [1]", *["–"] * 7]],
    ]
    assert tables[1].notes == ["oom: memory"]


def test_stages_are_columns_where_they_were_measured() -> None:
    whole = latency(4, 0.1).model_copy(update={"stages": {"text_encoder": 0.01, "denoiser": 0.08, "solver": 0.002}})
    fields = {"suite": "pipeline", "metrics": (PROTOCOL,), "samples": 0}
    other = record(cell("heun", 2, **fields), status=Status.OOM, reason="memory")
    (table,) = latency_tables([record(cell("ddim", 2, **fields), latency=(whole,)), other])
    assert table.headers[-4:] == ["text encoder ms", "denoiser ms", "solver ms", "decoder ms"]
    assert table.rows[0][-4:] == ["10.0", "80.0", "2.00", "–"]
    assert [len(row) for row in table.rows] == [len(table.headers)] * 2


def test_columns_that_do_not_fit_are_named(small: tuple[Section, Results]) -> None:
    table = ranked_table(small[0], 1, small[1])
    narrow = fit(table, 50, first=1)
    assert narrow.headers[:3] == table.headers[:3]
    assert "fit s" in narrow.footer[-1]
    assert fit(table, 500) is table


def test_a_title_is_as_wide_as_the_terminal_and_not_as_its_table() -> None:
    from rich.console import Console

    stream = io.StringIO()
    show_table(TextTable("a title " * 8, ["method"], [["ddim"]]), Console(file=stream, width=80))
    assert stream.getvalue().splitlines()[0].rstrip() == ("a title " * 8).rstrip()


@pytest.mark.parametrize("width", [40, 80, 160])
def test_the_terminal_shows_names_and_values_at_any_width(small: tuple[Section, Results], width: int) -> None:
    from rich.console import Console

    stream = io.StringIO()
    show([small[0]], small[1], Console(file=stream, width=width))
    text = stream.getvalue()
    assert "progressive" in text and "7.9 [7.4, 8.4]" in text and "unsupported [1]" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
