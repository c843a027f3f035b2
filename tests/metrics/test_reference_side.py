"""Reference statistics from a file: what serves, what is refused, and that it is the same number."""

from __future__ import annotations

import numpy as np
import pytest

from bench import registry
from bench.errors import UsageError
from bench.metrics._features import Rows
from bench.metrics._frechet import Known, Moments
from bench.metrics.fid import FID
from bench.reference.statistics import Reference

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 12)).astype(np.float32)
Y = (1.5 * RNG.standard_normal((400, 12)) + 0.2).astype(np.float32)


def stated(extractor: str, features: bool = False, rows: np.ndarray = Y) -> Reference:
    double = rows.astype(np.float64)
    mean, covariance = double.mean(0), np.cov(double.T)
    return Reference(extractor, None, "centre-crop", len(rows), mean, covariance, rows if features else None)


@pytest.mark.parametrize("rows", [Y, Y[:9]], ids=["full rank", "fewer images than features"])
@pytest.mark.parametrize("name", ["fid", "fid[resize=legacy]", "fd_dinov2", "fd[features=inception]"])
def test_mean_and_covariance_serve_a_frechet_distance(name: str, rows: np.ndarray) -> None:
    metric = registry.create("metric", name)
    from_file = metric.value(Moments(X), metric.reference(stated(metric.network_id(), rows=rows)))
    from_rows = metric.value(Moments(X), Moments(rows))
    assert from_file.value == pytest.approx(from_rows.value, rel=1e-8)
    assert (from_file.low, from_file.high) == pytest.approx((from_rows.low, from_rows.high), rel=1e-6)
    assert from_file.detail == pytest.approx(from_rows.detail, rel=1e-6)
    assert from_file.influence == pytest.approx(from_rows.influence, abs=1e-5)


@pytest.mark.parametrize("name", ["kid", "precision", "recall", "density", "coverage"])
def test_others_need_the_features(name: str) -> None:
    metric = registry.create("metric", f"{name}[features=inception]")
    rows = metric.rows(X)
    found = metric.value(rows, metric.reference(stated(metric.network_id(), features=True)))
    assert found.value == metric.value(rows, metric.rows(Y)).value
    with pytest.raises(UsageError, match=r"mean and covariance only, and .* needs the features"):
        metric.reference(stated(metric.network_id()))


def test_cmmd_needs_them_too() -> None:
    metric = registry.create("metric", "cmmd")
    assert len(metric.reference(stated(metric.network_id(), features=True))) == 400
    with pytest.raises(UsageError, match="needs the features"):
        metric.reference(stated(metric.network_id()))


def test_another_extractor_is_refused() -> None:
    with pytest.raises(
        UsageError, match="extractor inception-v3-tf@6726825d/clean, not inception-v3-tf@6726825d/legacy"
    ):
        FID(resize="legacy").reference(stated(FID().network_id()))


def test_no_file_serves_what_has_no_network_of_its_own() -> None:
    for name in ("kid", "fd", "sliced_wasserstein", "clip_score", "lpips"):
        with pytest.raises(UsageError, match=r"file of (reference )?statistics"):
            registry.create("metric", name).reference(stated("any"))


def test_a_file_cannot_be_judged() -> None:
    known = Known(stated("any"))
    assert len(known) == 400 and known.width == 12
    assert isinstance(known, Rows)


def test_ids_of_the_suites_own_features_are_what_they_were() -> None:
    for name in ("fd", "kid", "inception_score", "precision", "recall", "density", "coverage"):
        metric = registry.create("metric", name)
        assert registry.canonical("metric", name, metric) == name
        assert metric.network_id() == "" and metric.weights() == () and metric.space == "features"


def test_ids_with_another_network() -> None:
    metric = registry.create("metric", "kid[features=inception[resize=clean]]")
    assert registry.canonical("metric", "kid", metric) == "kid[features=inception]"
    assert metric.network_id() == "inception-v3-tf@6726825d/clean"
    assert metric.weights() == ("inception-v3-tf",)
    with pytest.raises(UsageError, match="did you mean inception"):
        registry.create("metric", "kid[features=incepton]")
    scored = registry.create("metric", "inception_score[features=dinov2]")
    with pytest.raises(UsageError, match="not a classifier"):
        scored.statistics(None)
