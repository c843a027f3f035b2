"""Which evaluations are full, and what the others compute."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench.api import Problem, Unsupported
from bench.nfe import Ledger
from bench.registry import create
from bench.sampling import Teacher
from bench.suites.digits import Digits
from bench.suites.mixture import Mixture
from methods.caching.deepcache import DeepCache


@pytest.mark.parametrize(
    ("interval", "nfe", "full"),
    [(1, 3, {0, 1, 2}), (2, 1, {0}), (2, 5, {0, 2, 4}), (3, 8, {0, 3, 6}), (5, 50, set(range(0, 50, 5)))],
)
def test_even_spacing(interval: int, nfe: int, full: set[int]) -> None:
    assert DeepCache(interval=interval).full_steps(nfe) == full


def test_power_law_is_dense_at_its_centre() -> None:
    # by hand: 4 of 16 around step 4 with power 2, u from -2 to sqrt(12), at quarters: u = -0.634, 0.732, 2.098
    assert DeepCache(interval=4, center=4, power=2.0).full_steps(16) == {0, 3, 4, 8}
    # from the left end: u from 0 to 4, at quarters 1, 2, 3
    assert DeepCache(interval=4, power=2.0).full_steps(16) == {0, 1, 4, 9}


def test_power_law_counts_no_more_than_even_spacing_and_stays_inside() -> None:
    for nfe in range(1, 30):
        for center in (0, 3, 50):
            steps = DeepCache(interval=3, center=center, power=1.4).full_steps(nfe)
            assert 0 in steps and len(steps) <= -(-nfe // 3) and max(steps) < nfe


def test_a_solver_runs_on_the_parts_in_order(make: Callable[..., tuple[Problem, object]]) -> None:
    problem, log = make()
    found = DeepCache(interval=2).sample(problem, 4)
    assert log.parts == ["full", "deep", "full", "deep"]  # type: ignore[attr-defined]
    x = problem.x
    for (sigma_s, sigma_t), gain in zip(problem.grid("karras", 4).steps(), (0.9, 0.5, 0.9, 0.5), strict=True):
        x = gain * x + sigma_t / sigma_s * (x - gain * x)
    torch.testing.assert_close(found, x)


def test_any_solver_takes_part(make: Callable[..., tuple[Problem, object]]) -> None:
    problem, log = make()
    DeepCache(interval=3, solver="heun").sample(problem, 5)
    assert log.parts == ["full", "deep", "deep", "full", "deep"]  # type: ignore[attr-defined]


def test_interval_one_is_the_solver_itself_and_less_costs_less_on_a_real_network() -> None:
    teacher = Teacher.load(Digits())
    plain, _ = teacher.generate(create("method", "ddim"), 3, 0, range(4))
    same, _ = teacher.generate(DeepCache(interval=1), 3, 0, range(4))
    cached, ledger = teacher.generate(DeepCache(interval=3), 3, 0, range(4))
    assert torch.equal(same, plain)
    assert not torch.allclose(cached, plain, atol=1e-3)
    assert ledger.nfe == 3


def test_guided_halves_keep_their_own_features() -> None:
    """Two samples that swap places do not change: no feature of one serves the other, or the other half."""
    teacher = Teacher.load(Digits(guidance_scale=2.0))
    forward, ledger = teacher.generate(DeepCache(), 2, 0, [3, 8])
    backward, _ = teacher.generate(DeepCache(), 2, 0, [8, 3])
    torch.testing.assert_close(forward, backward.flip(0), atol=1e-5, rtol=0)
    assert ledger.network_rows == 8


def test_a_closed_form_has_nothing_to_reuse() -> None:
    with pytest.raises(Unsupported, match="reuse"):
        Teacher.load(Mixture()).problem(0, range(2), Ledger()).cached()
