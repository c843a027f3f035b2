"""Methods that reuse features keep the contract on a suite whose teacher is a network."""

from __future__ import annotations

import pytest

from bench.contract import Stage, run_checks
from bench.suites.digits import Digits


@pytest.mark.parametrize("spec", ["deepcache", "faster_diffusion", "deepcache[interval=3,solver=dpm_solver_pp]"])
def test_contract_on_a_network(spec: str) -> None:
    outcomes = {outcome.check.name: outcome for outcome in run_checks(spec, Stage(Digits()))}
    for name in ("info", "parameters", "budget", "guidance", "determinism", "interleaved", "levels"):
        assert outcomes[name].status == "passed", outcomes[name].message
