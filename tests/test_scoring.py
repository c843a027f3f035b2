"""Scores of a cell: what cannot be had is a stated gap, what does not fit is done in halves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import definition, loaded, registry
from bench.batch import Batch
from bench.cell import Cell
from bench.definition import gap, metric_id
from bench.errors import UsageError
from bench.plan import load
from bench.reference.statistics import Reference
from bench.request import add_plugins
from bench.scoring import Behind, Scores
from bench.suites.base import Suite

PLUGINS = Path(__file__).parent / "faults" / "plugins"
METRICS = ("mean_norm", "tool_gone", "tool_dies", "heavy")


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Suite]:
    monkeypatch.setattr(registry, "_by_path", {})
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    add_plugins([f"metric:{PLUGINS / name}.py" for name in METRICS])
    yield load("suite", "mixture")[0]


def scores(suite: Suite, *metrics: str) -> Scores:
    ids = []
    for text in metrics:
        metric, spec = load("metric", text)
        ids.append(metric_id(suite, "mixture", metric, spec, 8))
    cell = Cell(
        suite="mixture",
        method="ddim",
        nfe=1,
        seed=0,
        samples=8,
        suite_revision="",
        method_revision="",
        metrics=tuple(ids),
    )
    return Scores(cell, suite)


def test_a_metric_without_its_weights_is_a_gap_that_says_how_to_get_them(suite: Suite) -> None:
    found = scores(suite, "mean_norm", "tool_gone")
    found.add(range(8), torch.ones(8, 2), None)
    assert [identifier.partition(":")[0] for identifier, *_ in found.values()] == ["mean_norm"]
    (sentence,) = found.gaps.values()
    assert "bench weights fetch" in sentence
    assert sentence == gap(suite, load("metric", "tool_gone")[0])


def test_what_is_missing_is_said_all_at_once(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(suite), "gives", frozenset({"images"}), raising=False)
    assert gap(suite, load("metric", "fid")[0]).split("; ") == [
        "weights inception-v3-tf are not here (FID, KID, IS, precision and recall)",
        "run bench weights fetch inception-v3-tf, or bring the file and run bench weights import FILE",
        "the suite has no reference statistics made by inception-v3-tf@6726825d/clean",
        "take a metric in the suite's own features, such as fd",
    ]


@pytest.mark.parametrize(
    ("on", "metric", "absent"),
    [
        ("digits", "vbench", "clips"),
        ("digits", "fvd", "clips"),
        ("digits", "clip_score", "images and prompts"),
        ("digits", "fd[features=inception]", "images"),
        ("mixture", "fid", "images"),
        ("mixture", "pick_score", "images and prompts"),
        ("moving_digits", "fid", "images"),
        ("moving_digits", "clip_score", "images"),
        ("tiny_t2i", "vbench", "clips"),
        ("network", "clip_score", "prompts"),
        ("network", "fd", "features"),
        ("network", "fvd", "clips"),
    ],
)
def test_what_no_download_can_fill_is_all_that_is_said(suite: Suite, on: str, metric: str, absent: str) -> None:
    params = "[module=m.py:make,trained_on=edm,prediction=x0,size=3x8x8]" if on == "network" else ""
    found = gap(load("suite", on + params)[0], load("metric", metric)[0])
    assert found == f"this metric needs {absent}, which the suite does not give"


@pytest.mark.parametrize("on", ["digits", "mixture", "tiny_t2i", "moving_digits"])
def test_suites_give_what_they_say_and_their_own_metrics_need_no_more(suite: Suite, on: str) -> None:
    made = load("suite", on)[0]
    if getattr(made, "lacks", str)():
        pytest.skip(made.lacks())
    batch = made.describe(torch.zeros(2, *made.shape), made.label(range(2)))
    assert definition.gives(made) == {name for name in definition.SEEN if getattr(batch, name) is not None}
    assert not any(definition.needs(load("metric", name)[0]) - definition.gives(made) for name in made.metrics)


def test_a_suite_that_does_not_say_what_it_gives_is_asked_for_everything(suite: Suite) -> None:
    class Silent(type(suite)):  # type: ignore[misc]
        pass

    assert definition.gives(Silent()) == set(definition.SEEN)


@pytest.mark.parametrize(("frames", "fits"), [("3", True), ("16", False), (None, True)])
def test_reference_statistics_of_clips_of_another_length_are_refused(
    suite: Suite, frames: str | None, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fvd = load("metric", "fvd")[0]
    provenance = {} if frames is None else {"source": {"frames": frames}}
    reference = Reference(fvd.network_id(), (8, 8), "none", 9, np.zeros(400), np.eye(400), provenance=provenance)
    monkeypatch.setattr(type(suite), "references", lambda self: (reference,))
    batch = Batch(torch.zeros(2, 1), clips=torch.zeros(2, 3, 3, 8, 8, dtype=torch.uint8))
    if fits:
        definition.check_size(suite, fvd, batch)
    else:
        with pytest.raises(UsageError, match=r"is of clips of 16 frames, not 3;.*--frames 3$"):
            definition.check_size(suite, fvd, batch)


@pytest.mark.parametrize("when", ["statistics", "value"])
def test_a_metric_whose_tool_dies_is_a_gap_and_costs_no_other(suite: Suite, when: str) -> None:
    found = scores(suite, f"tool_dies[when={when}]", "mean_norm")
    for start in (0, 4):
        found.add(range(start, start + 4), torch.ones(4, 2), None)
    (kept,) = list(found.values())
    assert kept[0].startswith("mean_norm") and kept[2].value == pytest.approx(2**0.5)
    assert list(found.gaps.values()) == [f"the worker died in {when}"]


@pytest.mark.parametrize(
    ("unfit", "sentence"),
    [
        ("clip_score[model=suite]", "this metric needs images and prompts, which the suite does not give"),
        ("rmse", "rmse needs samples before quantisation and the reference solution"),
        ("precision", "this metric needs at least 7 samples, not 4"),
    ],
)
def test_a_metric_that_does_not_fit_the_suite_is_a_gap_and_costs_no_other(
    suite: Suite, unfit: str, sentence: str
) -> None:
    found = scores(suite, unfit, "mean_norm")
    found.add(range(4), torch.ones(4, 2), None)
    (kept,) = list(found.values())
    assert kept[0].startswith("mean_norm") and kept[2].value == pytest.approx(2**0.5)
    ((identifier, said),) = found.gaps.items()
    assert identifier.startswith(unfit) and said.startswith(sentence)


@pytest.mark.parametrize(("size", "fits"), [((8, 8), True), ((8, 12), False), (None, True)])
def test_reference_statistics_of_pictures_of_another_size_are_refused(
    suite: Suite, size: tuple[int, int] | None, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``None`` is a reference whose pictures had several sizes, or one that nobody has stated."""
    fid = load("metric", "fid")[0]
    reference = Reference(fid.network_id(), size, "none", 9, np.zeros(2), np.eye(2))
    pictures = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    seen = {fid.network_id(): {"features": torch.randn(4, 2)}}
    monkeypatch.setattr(definition, "missing", lambda names: ())  # as if the weights were here
    monkeypatch.setattr(type(suite), "gives", frozenset({"images"}), raising=False)
    monkeypatch.setattr(type(suite), "references", lambda self: (reference,))
    monkeypatch.setattr(
        type(suite), "describe", lambda self, samples, label: Batch(samples, images=pictures, extracted=dict(seen))
    )
    loaded.reference_statistics.cache_clear()
    found = scores(suite, "fid", "mean_norm")
    found.add(range(4), torch.ones(4, 2), None)
    names = [identifier.partition(":")[0] for identifier, *_ in found.values()]
    assert names == (["fid", "mean_norm"] if fits else ["mean_norm"])
    loaded.reference_statistics.cache_clear()
    said = "".join(found.gaps.values())
    assert said == "" if fits else "has resolution 8x12, not 8x8; such numbers are not comparable" in said


def test_scoring_that_does_not_fit_is_done_in_halves_with_the_same_numbers(suite: Suite) -> None:
    samples = torch.arange(16.0).view(8, 2)
    whole, halves = scores(suite, "mean_norm"), scores(suite, "mean_norm", "heavy[fits=2]")
    whole.add(range(8), samples, None)
    first = halves.add(range(8), samples, None)
    assert len(first.samples) == 2
    values = {identifier.partition(":")[0]: estimate.value for identifier, _, estimate in halves.values()}
    assert values["heavy"] == 8
    assert [estimate.value for *_, estimate in whole.values()] == [pytest.approx(values["mean_norm"], rel=1e-12)]
    assert halves.notes == [
        "scoring 8 samples at once ran out of GPU memory, so 4 were",
        "scoring 4 samples at once ran out of GPU memory, so 2 were",
    ]


def test_on_the_cpu_nothing_runs_behind_the_back() -> None:
    seen: list[int] = []
    with Behind(torch.device("cpu")) as behind:
        behind.submit(lambda samples: seen.append(len(samples)), torch.ones(3))
        assert seen == [3]
        behind.wait()


def test_while_scoring_runs_behind_the_back_both_compute_in_full_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The switches are the process's: what scoring sets for itself would come and go in the sampler's convolutions."""

    def switches() -> tuple[bool, bool, bool]:
        cudnn = torch.backends.cudnn
        return cudnn.enabled, cudnn.benchmark, cudnn.allow_tf32

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    before = switches()
    with Behind(torch.device("cuda")):
        assert switches() == (before[0], False, False)
    assert switches() == before
    with Behind(torch.device("cpu")):
        assert switches() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_scoring_sees_finished_samples_and_its_errors_surface() -> None:
    device = torch.device("cuda")
    seen: list[float] = []
    with torch.inference_mode(), Behind(device) as behind:
        for value in range(3):
            samples = torch.full((2000, 2000), float(value), device=device)
            for _ in range(20):
                samples = samples + 1
            behind.submit(lambda samples: seen.append(float(samples.mean())), samples)
        behind.wait()
        assert seen == [20.0, 21.0, 22.0]

        def fail(samples: torch.Tensor) -> None:
            raise ValueError("scoring failed")

        behind.submit(fail, torch.ones(1, device=device))
        with pytest.raises(ValueError, match="scoring failed"):
            behind.wait()
