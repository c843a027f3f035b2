"""Declared order = measured slope, for the defaults of every solver and for settings whose formulas differ."""

from __future__ import annotations

import pytest

from bench import registry
from bench.api import Solver
from bench.contract_solver_checks import SLOPE_TOLERANCE
from bench.convergence import GRIDS, measured_order
from bench.registry import create

SETTINGS = [
    "ipndm[order=1]",
    "ipndm[order=2]",
    "ipndm[order=3]",
    *(f"dpm_solver[order={order}]" for order in (1, 2, 3)),
    *(f"dpm_solver_pp[order={order}]" for order in (1, 2, 3)),
    "dpm_solver_pp[solver_type=heun]",
    "dpm_solver_pp[order=3,fix_3m=true]",
    *(f"unipc[order={order},variant={variant}]" for order in (1, 2, 3) for variant in ("bh1", "bh2")),
    *(f"deis[variant={variant},order={order}]" for order in (1, 2, 3) for variant in ("tab", "rhoab", "logrho")),
]
SOLVERS = [name for name in sorted(registry.methods_of("all")) if issubclass(registry.load("method", name), Solver)]
DECLARED = [spec for spec in [*SOLVERS, *SETTINGS] if create("method", spec).declared_order is not None]


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("spec", DECLARED)
def test_declared_order_is_measured(spec: str, kind: str) -> None:
    solver = create("method", spec)
    assert measured_order(solver, kind) == pytest.approx(solver.declared_order, abs=SLOPE_TOLERANCE)
