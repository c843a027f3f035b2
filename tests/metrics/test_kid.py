"""KID against torch-fidelity's estimator, brute force, and known expectations."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom
from torch_fidelity.metric_kid import kernel_mmd, mmd2

from bench.metrics.kid import KID, KernelRows

Array = NDArray[np.float64]


def kid(x: Array, y: Array) -> float:
    return KID().value(KernelRows(x), KernelRows(y)).value


def test_agrees_with_torch_fidelity_on_all_pairs() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 12)), 0.8 * rng.standard_normal((60, 12)) + 0.3
    options = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
    expected = kernel_mmd(x, y, **options, kid_kernel_poly_coef0=1.0)
    assert kid(x, y) == pytest.approx(expected, rel=1e-12)


def test_sets_of_two_sizes_agree_with_the_definition() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((7, 3)), rng.standard_normal((11, 3)) + 1

    def kernel(a: Array, b: Array) -> float:
        return float((a @ b / 3 + 1) ** 3)

    xx = np.mean([kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    yy = np.mean([kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    xy = np.mean([kernel(a, b) for a in x for b in y])
    assert kid(x, y) == pytest.approx(xx + yy - 2 * xy, rel=1e-12)


def test_the_mean_of_random_subsets_tends_to_all_pairs() -> None:
    # torch-fidelity's way: subsets of both sets, drawn many times
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((200, 5)), rng.standard_normal((200, 5)) * 1.2
    kernels = [(a @ b.T / 5 + 1) ** 3 for a, b in ((x, x), (x, y), (y, y))]
    subsets = []
    for _ in range(500):
        i, j = rng.permutation(200)[:100], rng.permutation(200)[:100]
        subsets.append(mmd2(kernels[0][np.ix_(i, i)], kernels[1][np.ix_(i, j)], kernels[2][np.ix_(j, j)]))
    assert kid(x, y) == pytest.approx(np.mean(subsets), abs=4 * np.std(subsets) / np.sqrt(500))


def test_has_no_bias() -> None:
    rng = np.random.default_rng(3)
    same = [kid(rng.standard_normal((20, 4)), rng.standard_normal((30, 4))) for _ in range(800)]
    assert np.mean(same) == pytest.approx(0, abs=3.5 * np.std(same) / np.sqrt(800))


def test_intervals_cover_the_expectation_for_this_reference() -> None:
    rng, trials = np.random.default_rng(4), 200
    reference = KernelRows(rng.standard_normal((200, 6)))
    found = [KID().value(KernelRows(1.1 * rng.standard_normal((200, 6))), reference) for _ in range(trials)]
    expected = np.mean([e.value for e in found])
    hits = sum(e.low <= expected <= e.high for e in found if e.low is not None and e.high is not None)
    assert binom.ppf(0.001, trials, 0.95) <= hits


def test_influence_is_the_effect_of_leaving_a_sample_out() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((800, 4)), 1.5 * rng.standard_normal((100, 4))
    estimate = KID().value(KernelRows(x), KernelRows(y))
    assert estimate.influence is not None
    # leaving out of a U-statistic is exact up to the factor (n - 1) / (n - 2) on the part within x
    left_out = [799 * (estimate.value - kid(np.delete(x, i, 0), y)) for i in range(20)]
    assert left_out == pytest.approx(estimate.influence[:20], abs=0.01 * estimate.influence.std(), rel=0.01)


def test_chunks_leave_no_trace() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((1500, 3)), rng.standard_normal((1100, 3))
    permuted = kid(rng.permutation(x), rng.permutation(y))
    assert kid(x, y) == pytest.approx(permuted, rel=1e-9)
    assert kid(x, y) == pytest.approx(
        float(((x @ x.T / 3 + 1) ** 3).sum() - (((x**2).sum(1) / 3 + 1) ** 3).sum()) / (1500 * 1499)
        + float(((y @ y.T / 3 + 1) ** 3).sum() - (((y**2).sum(1) / 3 + 1) ** 3).sum()) / (1100 * 1099)
        - 2 * float(((x @ y.T / 3 + 1) ** 3).mean()),
        rel=1e-9,
    )
