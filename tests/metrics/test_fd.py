"""FD against other implementations, the closed form between Gaussians, and the coverage of its intervals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchmetrics.image.fid import _compute_fid

from bench.batch import Batch
from bench.metrics._frechet import Moments, bias
from bench.metrics.base import Estimate
from bench.metrics.fd import FD

Array = NDArray[np.float64]


def fd(x: Array, y: Array) -> Estimate:
    return FD().value(Moments(x), Moments(y))


def features(n: int, d: int, seed: int, decay: float = 2.0, rank: int | None = None) -> Array:
    """Correlated features whose spectrum falls by ``decay`` orders of magnitude, of a given rank."""
    rng = np.random.default_rng(seed)
    rank = d if rank is None else rank
    mix = rng.standard_normal((rank, d)) / np.sqrt(rank) * np.logspace(0, -decay, rank)[:, None]
    return rng.standard_normal((n, rank)) @ mix + 0.1 * rng.standard_normal(d)


def exact_sample(mean: Array, root: Array, n: int = 400) -> Moments:
    """A set whose sample mean and sample covariance are exactly ``mean`` and ``root root^T``."""
    z = np.random.default_rng(7).standard_normal((n, len(mean)))
    z -= z.mean(0)
    whitened = np.linalg.solve(np.linalg.cholesky(z.T @ z / (n - 1)), z.T).T
    return Moments(whitened @ root.T + mean)


SETS = {
    "full rank": (features(300, 32, 0), features(400, 32, 1)),
    "fewer samples than features": (features(20, 64, 2), features(30, 64, 3)),
    "samples of low rank": (features(300, 32, 4, rank=5), features(400, 32, 5)),
    "reference of low rank": (features(300, 32, 6), features(400, 32, 7, rank=5)),
    "both of low rank": (features(300, 32, 8, rank=4), features(400, 32, 9, rank=6)),
    "dead features": (features(300, 32, 10) * (np.arange(32) > 7), features(400, 32, 11) * (np.arange(32) < 24)),
}


@pytest.mark.parametrize("case", SETS)
def test_agrees_with_torch_fidelity(case: str) -> None:
    x, y = SETS[case]
    statistics = [fid_features_to_statistics(torch.from_numpy(z)) for z in (x, y)]
    expected = fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
    assert fd(x, y).value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("case", SETS)
def test_agrees_with_torchmetrics(case: str) -> None:
    means = [torch.from_numpy(z.mean(0)) for z in SETS[case]]
    covariances = [torch.from_numpy(np.cov(z, rowvar=False)) for z in SETS[case]]
    expected = float(_compute_fid(means[0], covariances[0], means[1], covariances[1]))
    assert fd(*SETS[case]).value == pytest.approx(expected, rel=1e-6)


def test_diagonal_gaussians_have_a_closed_form() -> None:
    mean, a, b = np.array([1.0, -2.0, 0.5]), np.array([0.5, 1.0, 2.0]), np.array([1.5, 1.0, 0.1])
    x, y = exact_sample(mean, np.diag(a)), exact_sample(np.zeros(3), np.diag(b))
    assert FD().value(x, y).value == pytest.approx((mean**2).sum() + ((a - b) ** 2).sum(), rel=1e-12)


@pytest.mark.parametrize("case", SETS)
def test_identical_sets_are_at_zero(case: str) -> None:
    x, _ = SETS[case]
    assert fd(x, x).value == pytest.approx(0, abs=1e-7 * np.var(x, axis=0).sum())


def test_a_spectrum_of_many_orders_keeps_its_precision() -> None:
    # commuting covariances with eigenvalues from 1 to 1e-10: the root of a rounding error would be 1e-8 of the largest
    a, b = np.logspace(0, -5, 40), np.logspace(0, -5, 40)[::-1]
    x, y = exact_sample(np.zeros(40), np.diag(a)), exact_sample(np.zeros(40), np.diag(b))
    assert FD().value(x, y).value == pytest.approx(((a - b) ** 2).sum(), rel=1e-9)
    # near zero what counts is the error against the trace, which the difference cancels
    close = exact_sample(np.zeros(40), np.diag(a * 1.01))
    assert FD().value(x, close).value == pytest.approx(1e-4 * (a**2).sum(), abs=1e-7 * (a**2).sum())


def test_batches_leave_no_trace() -> None:
    x, y = SETS["full rank"]
    rows = torch.from_numpy(x)
    whole = FD().statistics(Batch(rows, features=rows))
    first, *others = (FD().statistics(Batch(part, features=part)) for part in rows.split(37))
    parts = first
    for other in others:
        parts = parts + other
    reference = Moments(y)
    assert FD().value(parts, reference).value == FD().value(whole, reference).value


@given(seed=st.integers(0, 10**6), n=st.integers(3, 40), d=st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_order_translation_and_rotation_do_not_matter_and_swapping_neither(seed: int, n: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = features(n, d, seed), features(n + 5, d, seed + 1)
    value = pytest.approx(fd(x, y).value, rel=1e-8, abs=1e-9)
    rotation, _ = np.linalg.qr(rng.standard_normal((d, d)))
    shift = 10 * rng.standard_normal(d)
    assert fd(rng.permutation(x), rng.permutation(y)).value == value
    assert fd(x + shift, y + shift).value == value
    assert fd(x @ rotation, y @ rotation).value == value
    assert fd(y, x).value == value


def test_moving_the_mean_adds_its_square() -> None:
    x, y = SETS["full rank"]
    shift = np.linspace(-1, 1, 32)
    centred = x - x.mean(0) + y.mean(0)
    assert fd(centred + shift, y).value == pytest.approx(fd(centred, y).value + shift @ shift)


def test_influence_is_the_effect_of_leaving_a_sample_out() -> None:
    # the derivative along (1 - e) P + e delta_x at e = -1/(n-1), which is what leaving out does
    x, y = features(3000, 6, 0), features(500, 6, 1)
    estimate, n = fd(x, y), len(x)
    assert estimate.influence is not None
    left_out = [(n - 1) * (estimate.value - fd(np.delete(x, i, 0), y).value) for i in range(20)]
    # leaving out also moves the bias, the same for all, by about bias / n
    difference = np.array(left_out) - estimate.influence[:20]
    assert difference == pytest.approx(np.full(20, difference.mean()), abs=0.02 * estimate.influence.std())
    assert estimate.influence.sum() == pytest.approx(0, abs=1e-9)


def covers(successes: int, trials: int) -> bool:
    """Whether this many hits are likely (99.8 %) for a coverage of at least 95 %."""
    return successes >= binom.ppf(0.001, trials, 0.95)


@pytest.mark.parametrize(("d", "n"), [(8, 500), (16, 600)])
@pytest.mark.parametrize("distance", [1.0, 0.1, 0.0])
def test_intervals_cover_the_known_distance_of_gaussians(d: int, n: int, distance: float) -> None:
    rng = np.random.default_rng([d, n, int(10 * distance)])
    trials = 300
    root = rng.standard_normal((d, d)) / np.sqrt(d) + np.eye(d)
    other = root + distance * rng.standard_normal((d, d)) / np.sqrt(4 * d)
    mean = np.full(d, 0.3 * distance)
    reference = exact_sample(np.zeros(d), root)
    # tr (S R)^{1/2} is the nuclear norm of root^T other
    known = mean @ mean + (root**2).sum() + (other**2).sum() - 2 * np.linalg.norm(root.T @ other, "nuc")
    found = [FD().value(Moments(rng.standard_normal((n, d)) @ other.T + mean), reference) for _ in range(trials)]
    expected = np.mean([e.value for e in found])
    plain = sum(e.low <= expected <= e.high for e in found if e.low is not None and e.high is not None)
    debiased = sum(e.detail["debiased_low"] <= known <= e.detail["debiased_high"] for e in found)
    assert covers(plain, trials)
    assert covers(debiased, trials)
    widths = [e.high - e.low for e in found if e.low is not None and e.high is not None and e.low > 0]
    if distance == 1.0:  # far from zero the intervals are no wider than they must be
        assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std([e.value for e in found]), rel=0.15)
        assert plain <= binom.ppf(0.999, trials, 0.95)


@pytest.mark.parametrize("n", [160, 400, 1000])
def test_the_bias_of_a_distribution_with_itself_is_removed(n: int) -> None:
    d, trials = 16, 200
    rng = np.random.default_rng(n)
    root = rng.standard_normal((d, d)) / np.sqrt(d) + np.eye(d)
    reference = exact_sample(np.zeros(d), root)
    found = [FD().value(Moments(rng.standard_normal((n, d)) @ root.T), reference) for _ in range(trials)]
    plain, debiased = np.mean([e.value for e in found]), np.mean([e.detail["debiased"] for e in found])
    error = np.std([e.value for e in found]) / np.sqrt(trials)
    assert abs(debiased) <= 0.06 * plain + 3 * error
    assert plain > 10 * error


def test_bias_of_gaussians_in_closed_form() -> None:
    # for Gaussians Var(y_i y_j) = a_i a_j (1 + [i = j]), with an enormous sample to stand for the moments
    s = np.array([0.3, 1.0, 2.0])
    n = 400_000
    y = np.random.default_rng(0).standard_normal((n, 3)) * s
    variance = np.outer(s**2, s**2) * (1 + np.eye(3))
    expected = 5.0 + (variance / (2 * np.outer(s, s) * np.add.outer(s, s))).sum()
    square = y**2
    assert n * bias(square.T @ square, s, 5.0, n) == pytest.approx(expected, rel=0.01)


def test_few_samples_get_no_bias_corrected_value() -> None:
    assert fd(*SETS["fewer samples than features"]).detail == {}


@pytest.mark.parametrize(("x", "y", "sentence"), [
    (features(1, 4, 0), features(9, 4, 1), "at least 2 samples"),
    (features(9, 4, 0), features(9, 5, 1), "samples have 4 numbers, the reference 5"),
])  # fmt: skip
def test_impossible_sets_are_refused(x: Array, y: Array, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        fd(x, y)


def test_missing_features_and_reference_are_said() -> None:
    with pytest.raises(ValueError, match="needs features"):
        FD().statistics(Batch(torch.zeros(3, 2)))
    with pytest.raises(ValueError, match="needs reference"):
        FD().value(Moments(features(9, 4, 0)), None)
