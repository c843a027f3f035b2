"""DPM-Solver-v3 without statistics is DPM-Solver++; with them a Gaussian is solved in one step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from bench.api import Grid, Unsupported
from bench.contract import Stage, run_checks
from bench.contract_solver_checks import SLOPE_TOLERANCE
from bench.convergence import GRIDS, make, measured_order
from bench.nfe import Ledger
from bench.process import EDM
from bench.registry import create
from bench.suites.mixture import Mixture, mixture
from methods.calibrated.dpm_solver_v3 import DPMSolverV3

SMALL = DPMSolverV3(levels=24, images=48, batch=16)


@pytest.fixture(scope="module")
def fitted(task: Callable) -> dict[str, Tensor]:
    return SMALL.fit(task(), 5)


def start(*shape: int) -> Tensor:
    return 80 * torch.randn(4, *shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
    return mixture("mixture-2d").denoise(x.reshape(-1, 2), sigma).view_as(x)


@pytest.mark.parametrize("final", ["0", "always", "6"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_degenerated_is_dpm_solver_pp(order: int, final: str) -> None:
    ours = create("method", f"dpm_solver_v3[degenerated=true,order={order},corrector=none,lower_final={final}]")
    theirs = create("method", f"dpm_solver_pp[order={order},solver_type=heun,fix_3m=true,lower_final={final}]")
    for intervals in (1, 2, 4, 9):
        for kind in GRIDS:
            grid = make(kind, intervals)
            to_zero = Grid(torch.cat([grid.sigma[:-1], torch.zeros(1, dtype=torch.float64)]), EDM())
            for each in (grid, to_zero):
                for x in (start(2), start(1, 2, 2)):
                    pair = [solver.integrate(denoise, x, each, None) for solver in (ours, theirs)]
                    torch.testing.assert_close(*pair, rtol=0, atol=1e-10)


# measured once and slow to measure again: 1.00, 2.00 and 1.96
DECLARED_ONLY = (
    "order=1,corrector=same",
    "order=3,corrector=none,pseudo=true,lower_final=0",
    "order=3,corrector=none,lower_final=always",
)


@pytest.mark.parametrize(
    ("spec", "order"),
    [
        ("order=1,corrector=none,lower_final=0", 1),
        ("order=1,corrector=same", 1),
        ("order=1,corrector=pseudo", 2),
        ("order=2,corrector=none", 2),
        ("order=3,corrector=none,lower_final=0", 3),
        ("order=3,corrector=none,pseudo=true,lower_final=0", 2),
        ("order=3,corrector=none,lower_final=always", 2),
        ("order=3,corrector=pseudo,lower_final=0", 2),
        ("order=3,corrector=same", 2),
        # orders 2 and 3, but from some thousand steps on only
        ("order=2,corrector=same,lower_final=0", None),
        ("order=3,corrector=same,lower_final=8", None),
    ],
)
def test_order(spec: str, order: int | None) -> None:
    solver = create("method", f"dpm_solver_v3[degenerated=true,{spec}]")
    assert solver.declared_order == order
    if order is not None and spec not in DECLARED_ONLY:
        assert measured_order(solver, "uneven") == pytest.approx(order, abs=SLOPE_TOLERANCE)


def test_with_statistics_no_order_is_declared() -> None:
    assert create("method", "dpm_solver_v3[order=3,corrector=none,lower_final=0]").declared_order is None


def test_a_gaussian_in_one_step(task: Callable, error: Callable) -> None:
    fitting = task("gaussian")
    artifact = DPMSolverV3(images=20, batch=8).fit(fitting, 5)
    assert fitting.ledger.network_rows == 3 * 61 * 20
    assert fitting.images == 20
    sigma = artifact["sigma"]
    assert (sigma.dtype, len(sigma), float(sigma[0])) == (torch.float64, 61, 80.0)
    assert float(sigma[-1]) == pytest.approx(0.002)
    assert bool((sigma.log().diff() < 0).all())
    torch.testing.assert_close(sigma.log().diff(), torch.full((60,), math.log(0.002 / 80) / 60, dtype=torch.float64))
    gmm = mixture("gaussian")
    variance, mean, level = gmm.std[0] ** 2, gmm.mean[0], sigma[:, None]
    linear = level**2 / (variance + level**2)
    torch.testing.assert_close(artifact["l"], linear.float(), rtol=1e-4, atol=1e-6)
    slope = -2 * variance * level**2 / (variance + level**2) ** 2
    torch.testing.assert_close(artifact["b"], (-slope * mean).float(), rtol=0, atol=0.01)
    assert float(artifact["s"].abs().max()) < 0.01
    assert {value.dtype for name, value in artifact.items() if name != "sigma"} == {torch.float32}
    for nfe in (1, 2, 5):  # to 0.002: what a last jump to 0 costs is not the solver's
        solver = create("method", "dpm_solver_v3[grid=logsnr[end=sigma_min]]")
        assert error(solver, nfe, artifact, "gaussian") < 0.01
    assert error(create("method", "dpm_solver_pp[grid=logsnr[end=sigma_min]]"), 1, {}, "gaussian") > 0.3


@pytest.mark.parametrize(("nfe", "share"), [(3, 0.5), (5, 0.8), (8, 0.4)])
def test_better_than_without_statistics(fitted: Mapping[str, Tensor], error: Callable, nfe: int, share: float) -> None:
    plain = min(error(create("method", spec), nfe, {}) for spec in ("dpm_solver_pp[solver_type=heun]", "unipc"))
    assert error(SMALL, nfe, fitted) < share * plain


@pytest.mark.parametrize("corrector", ["none", "same", "pseudo"])
def test_contract_with_statistics(fitted: Mapping[str, Tensor], corrector: str) -> None:
    spec = f"dpm_solver_v3[levels=24,images=48,batch=16,order=3,corrector={corrector}]"
    outcomes = run_checks(spec, Stage(Mixture(), lambda method, nfe: fitted))
    assert not [outcome.message for outcome in outcomes if outcome.status == "failed"]
    ran = {outcome.check.name for outcome in outcomes if outcome.status == "passed"}
    assert ran >= {"budget", "guidance", "precision", "batch", "determinism", "levels", "artifact"}


def test_the_floor_is_passed_on(task: Callable) -> None:
    high = DPMSolverV3(levels=4, images=8, floor=10.0).fit(task(), 1)["s"]
    low = DPMSolverV3(levels=4, images=8, floor=0.0).fit(task(), 1)["s"]
    assert float(high.abs().max()) < 0.05 < float(low.abs().max())


def test_one_artifact_for_all_budgets_and_none_without_statistics() -> None:
    assert {DPMSolverV3().artifact_name(nfe) for nfe in (1, 5, 10)} == {"ems"}
    assert DPMSolverV3(degenerated=True).artifact_name(5) == ""
    assert set(DPMSolverV3.model_fields) - DPMSolverV3.sampling_only == {"levels", "images", "batch", "floor"}


def test_what_is_refused() -> None:
    problem = Stage.default().teacher(False, torch.float32).problem(0, [0], Ledger())
    with pytest.raises(Unsupported, match="bench fit with --nfe 4"):
        DPMSolverV3().sample(problem, 4)
    with pytest.raises(Unsupported, match="degenerated=true"):
        DPMSolverV3().integrate(problem.denoise, problem.x, make("karras", 2), problem.noise)
    for wrong in ({"order": 4}, {"order": 0}, {"corrector": "full"}, {"levels": 0}, {"images": 1}, {"floor": -1.0}):
        with pytest.raises(ValidationError):
            DPMSolverV3(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        DPMSolverV3(batch=0)
