from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic
from synthetic import ACCURACY, FD, PROTOCOL, cell, latency, measured, record, write

from bench.record import Status
from bench.report.load import load
from bench.report.point import combine, family
from bench.report.provenance import lines
from bench.report.ranking import ranked
from bench.report.sections import heading, sections


def test_two_metric_ids_are_never_in_one_section() -> None:
    other = FD.replace("9c0d1e2f", "00000000")
    found = sections([record(cell("ddim", 1), {FD: measured(1)}), record(cell("heun", 1, metrics=(other,)))])
    assert [section.metric for section in found] == sorted([FD, other], key=lambda metric: metric)
    assert all(len(section.points) == 1 for section in found)


@pytest.mark.parametrize("change", [{"suite": "mixture"}, {"suite_revision": "6"}, {"samples": 500}])
def test_what_is_not_comparable_is_apart(change: dict[str, object]) -> None:
    assert len(sections([record(cell("ddim", 1)), record(cell("heun", 1, **change))])) == 2


def test_seeds_are_averaged_and_intervals_add_in_quadrature() -> None:
    mean = combine([measured(1.0, 0.3), measured(2.0, 0.4)])
    assert mean is not None
    assert (mean.value, mean.low, mean.high) == pytest.approx((1.5, 1.25, 1.75))  # sqrt(.09 + .16) / 2
    without = combine([measured(1.0, 0.3), measured(2.0, None)])
    assert without is not None and without.low is None
    assert combine([]) is None


def test_seeds_of_one_method_are_one_point() -> None:
    (section,) = sections([record(cell("ddim", 1, seed), {FD: measured(1.0 + seed)}) for seed in (0, 1)])
    (point,) = section.points
    value = point.value(FD)
    assert value is not None and value.value == 1.5


def test_the_newest_revision_stands_and_the_rest_is_counted() -> None:
    old = [record(cell("ddim", 1, seed), {FD: measured(9.0)}, created="2025-01-01T00:00:00Z") for seed in (0, 1)]
    new = record(cell("ddim", 1, method_revision="r2"), {FD: measured(1.0)}, created="2025-01-02T00:00:00Z")
    (section,) = sections([*old, new])
    (point,) = section.points
    value = point.value(FD)
    assert value is not None and value.value == 1.0
    assert section.superseded == 2


def test_dtype_is_named_where_it_differs() -> None:
    both = [record(cell("ddim", 1), {FD: measured(1)}), record(cell("ddim", 1, dtype="float64"), {FD: measured(2)})]
    (section,) = sections(both)
    assert section.methods == ["ddim (float32)", "ddim (float64)"]


def test_latency_joins_within_one_fingerprint_only() -> None:
    quality = record(cell("ddim", 1), {FD: measured(1)})
    timed = record(cell("ddim", 1, samples=0, metrics=(PROTOCOL,)), latency=(latency(1, 0.01),))
    elsewhere = record(
        cell("ddim", 1, samples=0, metrics=(PROTOCOL.replace("01234567", "76543210"),)), latency=(latency(1, 0.02),)
    )
    (one,) = sections([quality, timed])
    assert one.points[0].latency[1].p50 == 0.01
    (two,) = sections([quality, timed, elsewhere])
    assert two.points[0].latency == {}
    assert len(two.protocols) == 2


def test_failures_have_places_without_ranks(tmp_path: Path) -> None:
    records = [
        record(cell("ddim", 1), {FD: measured(2.0, 0.1), ACCURACY: measured(0.5)}),
        record(cell("heun", 1), status=Status.UNSUPPORTED, reason="odd only"),
        record(cell("ddpm", 1), {FD: measured(1.0, 0.1)}),
    ]
    results = load(write(tmp_path, records))
    rows = ranked(sections(results.records)[0], 1, results)
    assert [(row.point.method, row.rank) for row in rows] == [("ddpm", 1), ("ddim", 2), ("heun", None)]


def test_influence_files_decide_ties(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=500) * 20
    records = [record(cell(name, 1), {FD: measured(value, 1.8)}) for name, value in (("ddim", 10.0), ("heun", 10.5))]
    unpaired = load(write(tmp_path / "a", records))
    assert [row.rank for row in ranked(sections(unpaired.records)[0], 1, unpaired)] == [1, 1]
    beside = {item.id: noise for item in records}
    beside[records[1].id] = noise + np.tile([1.0, -1.0], 250)
    together = load(write(tmp_path / "b", records, influence=beside))
    assert [row.rank for row in ranked(sections(together.records)[0], 1, together)] == [1, 2]


FID = "fid:inception@1a2b3c4d/n=2000/ref=none"
WHY = {FID: "weights inception are not here; run bench weights fetch inception"}


def test_the_first_metric_with_a_number_ranks(tmp_path: Path) -> None:
    records = [
        record(cell(method, 1, metrics=(FID, FD)), {FD: measured(value)}, missing=WHY)
        for method, value in (("ddim", 20.0), ("heun", 10.0))
    ]
    results = load(write(tmp_path, records))
    (section,) = sections(results.records)
    assert (section.metrics, section.passed) == ((FD, FID), (FID,))
    assert [(row.point.method, row.rank) for row in ranked(section, 1, results)] == [("heun", 1), ("ddim", 2)]
    assert section.label(FID) == "fid"
    text = "\n".join(lines(section, section.metrics, latency=False))
    assert f"Ranks: by FD (digits-cnn), the first metric with a number; fid has no number here: {WHY[FID]}. " in text
    assert f"Metric: fid, no number here: {FID}." in text


def test_influence_counts_for_the_first_metric_with_a_number_and_for_no_other(tmp_path: Path) -> None:
    values = (("ddim", 20.0), ("heun", 10.0))
    large = [1e6 * np.random.default_rng(seed).normal(size=2000) for seed in (0, 1)]  # with it they share a rank
    for first, expected in (({}, [1, 1]), ({FID: measured(1.0)}, [1, 2])):
        records = [record(cell(name, 1, metrics=(FID, FD)), {**first, FD: measured(value)}) for name, value in values]
        influence = {item.id: noise for item, noise in zip(records, large, strict=True)}
        results = load(write(tmp_path / str(len(first)), records, influence=influence))
        (section,) = sections(results.records)
        again = replace(section, metrics=(FD, FID))  # where fid has a number the influence is on it
        assert [row.rank for row in ranked(again, 1, results)] == expected


def test_a_metric_with_one_number_ranks_and_without_any_the_first_keeps_its_place() -> None:
    one = [record(cell("ddim", 1), {ACCURACY: measured(1)}), record(cell("heun", 1), {FD: measured(2)})]
    assert (sections(one)[0].metric, sections(one)[0].passed) == (FD, ())
    assert (sections([record(cell("ddim", 1))])[0].metrics, sections(one)[0].passed) == ((FD, ACCURACY), ())


def test_a_heading_is_the_suite_or_its_beginning_and_revision() -> None:
    assert heading("digits[guidance_scale=2.0]", "5f5f5f5f5f") == "digits[guidance_scale=2.0]"
    assert heading("d" * 61, "5f5f5f5f5f") == "d" * 50 + "…@5f5f5f5f"
    assert len(heading("d" * 400, "5f5f5f5f5f")) == 60


def test_family_is_read_from_the_registry() -> None:
    assert family("ddim[eta=1.0]") == "solvers"
    assert family("nothing_of_this_name") == "other"
    assert len(synthetic.TWENTY) == 20
