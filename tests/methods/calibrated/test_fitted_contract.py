"""Calibrated methods keep the contract with artifacts as they do without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import pytest
from torch import Tensor

from bench.api import Method, Unsupported
from bench.contract import Stage, run_checks
from bench.suites.mixture import Mixture


@pytest.mark.parametrize(
    "spec",
    [
        "optimal_stepsize[teacher_steps=20,images=4]",
        "optimal_stepsize[teacher_steps=20,images=4,aggregate=shared,solver=ipndm]",
        "bespoke[base=rk1,iterations=2,batches=1,batch=4,path_steps=8]",
        "bespoke[base=rk2,iterations=2,batches=1,batch=4,path_steps=8]",
    ],
)
def test_contract_with_artifacts(task: Callable, spec: str) -> None:
    @cache
    def artifact(method: Method, nfe: int) -> Mapping[str, Tensor]:
        try:
            return method.fit(task(), nfe)
        except Unsupported:
            return {}

    outcomes = run_checks(spec, Stage(Mixture(), artifact))
    assert not [outcome.message for outcome in outcomes if outcome.status == "failed"]
    ran = {outcome.check.name for outcome in outcomes if outcome.status == "passed"}
    assert ran >= {"budget", "guidance", "precision", "batch", "determinism", "levels", "artifact"}
