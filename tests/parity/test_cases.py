"""Every parity case: equal to the reference within its tolerance, or, where it says that the two disagree, they do."""

from __future__ import annotations

import pytest
import torch

from bench.parity.base import PACKAGES, TOLERANCE, Case, Unavailable, cases, difference, modules, ours
from bench.parity.recorded import load, reference
from bench.registry import create

ALL = [(module, case) for module in modules() for case in cases(module)]


def name(value: object) -> str:
    return value.key if isinstance(value, Case) else str(value)


def gap(module: str, case: Case, nfe: int) -> float:
    """The largest difference; the test is skipped where a package is missing, as k-diffusion is for Python 3.13."""
    try:
        theirs = reference(module, case, nfe)
    except Unavailable as missing:
        if case.against in PACKAGES:
            pytest.skip(str(missing))
        raise
    return difference(ours(case, nfe), theirs)


@pytest.mark.parametrize(("module", "case"), [each for each in ALL if each[1].tolerance is not None], ids=name)
def test_agrees(module: str, case: Case) -> None:
    assert case.tolerance is not None
    gaps = {nfe: gap(module, case, nfe) for nfe in case.nfes}
    assert max(gaps.values()) <= case.tolerance, gaps


@pytest.mark.parametrize(("module", "case"), [each for each in ALL if each[1].tolerance is None], ids=name)
def test_a_disagreement_is_one_and_is_explained(module: str, case: Case) -> None:
    assert len(case.verdict) > 40
    assert max(gap(module, case, nfe) for nfe in case.nfes) > TOLERANCE


@pytest.mark.parametrize(("module", "case"), ALL, ids=name)
def test_a_case_names_a_solver(module: str, case: Case) -> None:
    create("method", case.solver)
    assert case.nfes == tuple(sorted(set(case.nfes)))


def test_case_keys_are_unique() -> None:
    keys = [case.key for _, case in ALL]
    assert len(keys) == len(set(keys))


def test_nothing_is_recorded_that_is_not_compared() -> None:
    for module in modules():
        assert set(load(module)) <= {case.key for case in cases(module)}


def test_recorded_values_are_finite_and_say_where_they_are_from() -> None:
    for module in modules():
        known = {case.key: case for case in cases(module)}
        for key, recording in load(module).items():
            assert recording.repository == known[key].against
            assert len(recording.commit) == 40
            values = torch.tensor(list(recording.values.values()))
            assert values.shape == (len(known[key].nfes), 8, 2)
            assert bool(torch.isfinite(values).all())
