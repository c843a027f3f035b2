"""The bound against its closed form for Gaussian data, the search against brute force, and early stopping."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from functools import cache

import pytest
import torch
from torch import Tensor

from bench.api import Method, Unsupported
from bench.contract import Stage, run_checks
from bench.grids import make_grid
from bench.process import EDM
from bench.suites.mixture import Mixture
from methods.calibrated.ays import AYS, bound, bounds, descend, halve, predictions, resample

SCALE = 0.5


class Gaussian:
    """Data N(0, SCALE^2) in one dimension."""

    def __init__(self, count: int) -> None:
        self.x = SCALE * torch.randn(count, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        self.levels: list[float] = []
        self.states: list[Tensor] = []

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        self.levels.append(sigma)
        self.states.append(x)
        return SCALE**2 / (SCALE**2 + sigma**2) * x


def logspace(high: float, low: float, count: int) -> Tensor:
    return torch.linspace(math.log(high), math.log(low), count, dtype=torch.float64).exp()


def term(high: float, low: float) -> float:
    """``int_low^high sigma^-3 E |D(x_sigma) - D(x_high)|^2 dsigma`` of the Gaussian, by substitution.

    D is a martingale, so that the expectation is ``c^4 / (c^2 + sigma^2) - c^4 / (c^2 + high^2)``.
    """
    c2 = SCALE**2

    def primitive(s: float) -> float:  # of c^4 / (s^3 (c^2 + s^2)) - k / s^3
        fraction = c2**2 * (-1 / (2 * c2 * s**2) - math.log(s) / c2**2 + math.log(c2 + s**2) / (2 * c2**2))
        return fraction + c2**2 / (c2 + high**2) / (2 * s**2)

    return primitive(high) - primitive(low)


def test_the_bound_is_that_of_a_gaussian() -> None:
    sigma, batch = logspace(80.0, 0.05, 120), Gaussian(20000)
    found = bounds(predictions(batch, sigma, torch.Generator().manual_seed(0)), sigma, 20000)  # type: ignore[arg-type]
    assert sorted(batch.levels) == batch.levels and len(batch.levels) == 120
    # the states have the variance that data plus noise of each level has
    for level, state in zip(batch.levels, batch.states, strict=True):
        assert float(state.var()) == pytest.approx(SCALE**2 + level**2, rel=0.05)
    for i, j in ((0, 40), (30, 60), (60, 90), (90, 119), (0, 119)):
        assert float(found[i, j]) == pytest.approx(term(float(sigma[i]), float(sigma[j])), rel=0.05)
    assert bool(torch.isinf(found[torch.ones_like(found).tril().bool()]).all())
    assert bool((found[torch.ones_like(found).triu(1).bool()] > 0).all())


def test_bounds_are_means_over_images_and_sums_over_dimensions() -> None:
    # D jumps by (3, 4) in one image of two and not in the other: mean square 25 / 2
    prediction = torch.tensor([[0.0, 0, 0, 0], [3, 4, 0, 0], [3, 4, 0, 0]], dtype=torch.float64)
    sigma = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)
    found = bounds(prediction, sigma, 2)
    first = 12.5 / 4 / 2 * math.log(2)  # from 0 at sigma = 4 to 12.5 / 2^2 at 2
    assert float(found[0, 1]) == pytest.approx(first)
    assert float(found[0, 2]) == pytest.approx(first + (12.5 / 4 + 12.5) / 2 * math.log(2))
    assert float(found[1, 2]) == pytest.approx(0, abs=1e-12)


def terms() -> Tensor:
    return terms_of(logspace(80.0, 0.05, 24))


def terms_of(sigma: Tensor) -> Tensor:
    made = [[term(float(a), float(b)) if b < a else math.inf for b in sigma] for a in sigma]
    return torch.tensor(made, dtype=torch.float64)


def test_the_bound_of_a_schedule_is_the_sum_of_its_terms() -> None:
    table = terms()
    assert bound([0, 5, 23], table) == pytest.approx(float(table[0, 5] + table[5, 23]))


@pytest.mark.parametrize("steps", [2, 3, 5])
def test_converged_search_cannot_be_improved_by_moving_one_level(steps: int) -> None:
    table = terms()
    start = [0, *range(2, steps + 1), 23]
    found = descend(start, table, table, 100)
    moves = [
        sorted({*found[:k], new, *found[k + 1 :]})
        for k in range(1, steps)
        for new in range(found[k - 1] + 1, found[k + 1])
    ]
    assert bound(found, table) <= min(bound(move, table) for move in moves) * (1 + 1e-12)
    best = min(bound([0, *inner, 23], table) for inner in itertools.combinations(range(1, 23), steps - 1))
    assert bound(found, table) <= best * (1 if steps == 2 else 1.2)
    assert descend(start, table, table, 0) == start


def test_one_round_moves_each_level_once_in_order() -> None:
    table = terms()
    start = [0, 10, 22, 23]
    first = min(range(1, 22), key=lambda k: float(table[0, k] + table[k, 22]))
    second = min(range(first + 1, 23), key=lambda k: float(table[first, k] + table[k, 23]))
    assert descend(start, table, table, 1) == [0, first, second, 23]
    assert descend(start, table, table, 2) != [0, first, second, 23]


def test_it_stops_when_held_out_data_do_not_agree() -> None:
    table = terms()
    start = [0, 2, 4, 23]
    index = torch.arange(24, dtype=torch.float64)
    against = (index - 2.0 * index[:, None]).abs() + 1  # least for the start
    assert bound(descend(start, table, table, 1), against) > bound(start, against)
    assert descend(start, table, against, 100) == start
    assert descend(start, table, torch.zeros(24, 24), 100) == start  # no worse is not better


def test_halving() -> None:
    assert halve([0, 4, 9, 10]) == [0, 2, 4, 6, 9, 10]
    assert halve([0, 1]) == [0, 1]


def test_resampling_is_log_linear() -> None:
    sigma = torch.tensor([16.0, 4.0, 0.25], dtype=torch.float64)
    torch.testing.assert_close(resample(sigma, 2), sigma)
    expected = torch.tensor([16, 8, 4, 1, 0.25], dtype=torch.float64)
    torch.testing.assert_close(resample(sigma, 4), expected)
    torch.testing.assert_close(resample(sigma, 1), expected[[0, 4]])
    assert float(resample(sigma, 3)[1]) == pytest.approx(16 * (4 / 16) ** (2 / 3))


SMALL = {"levels": 65, "images": 64}


def test_the_fitted_schedule(task: Callable, error: Callable) -> None:
    fitting = task()
    artifact = AYS(**SMALL).fit(fitting, 5)
    sigma = artifact["sigma"]
    assert (len(sigma), sigma.dtype, sigma[0], sigma[-1]) == (6, torch.float64, 80, 0)
    assert bool((sigma.diff() < 0).all())
    assert (fitting.ledger.network_rows, fitting.images) == (64 * 65, 64)
    assert error(AYS(**SMALL), 5, artifact) < error(AYS(rounds=0, **SMALL), 5, AYS(rounds=0, **SMALL).fit(task(), 5))


@pytest.mark.parametrize("lowest", [0.03, 0.3])
def test_without_rounds_it_is_the_start_interpolated(task: Callable, lowest: float) -> None:
    def fit(steps: int, **parameters: int) -> Tensor:
        return AYS(rounds=0, levels=301, images=2, lowest=lowest, **parameters).fit(task(), steps)["sigma"][:-1]

    def start(steps: int) -> Tensor:
        return make_grid("karras[end=sigma_min]", steps, lowest, 80.0, EDM()).sigma

    torch.testing.assert_close(fit(10, doublings=0), start(10)[:-1], rtol=0.02, atol=0)
    torch.testing.assert_close(fit(4, doublings=0, first=0), start(4)[:-1], rtol=0.02, atol=0)
    torch.testing.assert_close(fit(4, doublings=0, first=4), start(4)[:-1], rtol=0.02, atol=0)
    doubled = fit(20, doublings=1)
    torch.testing.assert_close(doubled[::2], start(10)[:-1], rtol=0.02, atol=0)
    torch.testing.assert_close(doubled[1::2], (start(10)[:-1] * start(10)[1:]).sqrt(), rtol=0.02, atol=0)


def test_the_doubled_schedule_is_optimised_too(task: Callable) -> None:
    once, twice = (AYS(doublings=n, rounds=50, **SMALL).fit(task(), 20)["sigma"] for n in (0, 1))
    sigma = logspace(80.0, 0.03, 65)
    table = terms_of(sigma)
    paths = [sorted({*(sigma[:, None] - made[:-1]).abs().argmin(0).tolist(), 64}) for made in (once, twice)]
    assert bound(paths[1], table) < bound(paths[0], table)


def test_what_cannot_be_fitted(task: Callable) -> None:
    with pytest.raises(Unsupported, match="levels=10"):
        AYS(levels=10).fit(task(), 3)
    with pytest.raises(Unsupported, match="lowest=80"):
        AYS(lowest=80.0).fit(task(), 3)


def test_contract_with_artifacts(task: Callable) -> None:
    @cache
    def artifact(method: Method, nfe: int) -> Mapping[str, Tensor]:
        return method.fit(task(), nfe)

    outcomes = run_checks("ays[levels=20,images=4]", Stage(Mixture(), artifact))
    assert not [outcome.message for outcome in outcomes if outcome.status == "failed"]
