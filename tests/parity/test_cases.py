"""Every parity case: equal to the reference within its tolerance, or, where it says that the two disagree, they do."""

from __future__ import annotations

import pytest
import torch

from bench.parity.base import PACKAGES, TOLERANCE, Case, Unavailable, cases, modules, ours, theirs
from bench.parity.recorded import recall

ALL = [(module, case, nfe) for module in modules() for case in cases(module) for nfe in case.nfes]


def reference(module: str, case: Case, nfe: int) -> torch.Tensor:
    try:
        return theirs(case, nfe) if case.against in PACKAGES else recall(module, case, nfe)
    except Unavailable as missing:
        if case.against in PACKAGES:
            pytest.skip(str(missing))
        raise


def name(value: object) -> str:
    return value.key if isinstance(value, Case) else str(value)


@pytest.mark.parametrize(("module", "case", "nfe"), ALL, ids=name)
def test_agrees(module: str, case: Case, nfe: int) -> None:
    if case.tolerance is None:
        pytest.skip("a known disagreement")
    worst = float((ours(case, nfe) - reference(module, case, nfe)).abs().max())
    assert worst <= case.tolerance


KNOWN = [(module, case) for module in modules() for case in cases(module) if case.tolerance is None]


@pytest.mark.parametrize(("module", "case"), KNOWN, ids=name)
def test_a_disagreement_is_one_and_is_explained(module: str, case: Case) -> None:
    assert len(case.verdict) > 40
    gaps = [float((ours(case, nfe) - reference(module, case, nfe)).abs().max()) for nfe in case.nfes]
    assert max(gaps) > TOLERANCE


def test_case_keys_are_unique() -> None:
    keys = [case.key for module in modules() for case in cases(module)]
    assert len(keys) == len(set(keys))
