"""Analytic-DPM: the fitted covariance is the closed form, and samples keep the data's variance in few steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from bench.api import Unsupported
from bench.contract import Stage, run_checks
from bench.nfe import Ledger
from bench.registry import create
from bench.sampling import Teacher
from bench.suites.mixture import Mixture, mixture
from methods.calibrated.analytic_dpm import AnalyticDPM

SMALL = AnalyticDPM(levels=16, images=2000, batch=500)


@pytest.fixture(scope="module")
def fitted(task: Callable) -> dict[str, Tensor]:
    return SMALL.fit(task(), 5)


def test_covariance_of_a_gaussian(task: Callable) -> None:
    fitting = task("gaussian")
    artifact = AnalyticDPM(levels=20, images=3000, batch=700).fit(fitting, 5)
    assert (fitting.ledger.network_rows, fitting.images) == (2 * 20 * 3000, 3000)
    sigma, found = artifact["sigma"], artifact["covariance"]
    assert (len(sigma), float(sigma[0]), float(sigma[-1])) == (20, 80.0, 0.002)
    variance = mixture("gaussian").std[0] ** 2
    exact = (variance * sigma[:, None] ** 2 / (variance + sigma[:, None] ** 2)).mean(1)
    assert float((found / exact - 1).abs().max()) < 0.12  # at sigma = 80, C is 1e-4 of eps^2, itself known to 0.01
    assert float((found / exact - 1).mean().abs()) < 0.05


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")  # torch's own, when it first differentiates so
def test_covariance_of_a_mixture(fitted: Mapping[str, Tensor]) -> None:
    """Against the mean of ``sigma^2 diag J``, another expression of the same number."""
    generator = torch.Generator().manual_seed(9)
    gmm = mixture("mixture-2d")
    x0 = gmm.sample(torch.randint(5, (4000,), generator=generator), torch.randn(4000, 2, generator=generator).double())
    for k in (3, 6, 9, 12):
        sigma = float(fitted["sigma"][k])
        x = x0 + sigma * torch.randn(4000, 2, generator=generator).double()
        diagonal = 0
        for j in range(2):
            unit = torch.zeros_like(x)
            unit[:, j] = 1
            diagonal += (
                (torch.func.jvp(lambda y, sigma=sigma: gmm.denoise(y, sigma), (x,), (unit,))[1])[:, j].mean() / 2
            )
        assert float(fitted["covariance"][k]) == pytest.approx(sigma**2 * float(diagonal), rel=0.12)


class Constant:
    """A task whose teacher always says the same, so that the estimate is out of the range a covariance has."""

    generator = torch.Generator().manual_seed(0)

    def __init__(self, value: float) -> None:
        self.value = value

    def grid(self, spec: str, intervals: int) -> object:
        assert (spec, intervals) == ("logsnr[end=sigma_min]", 2)
        return type("Grid", (), {"sigma": torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)})()

    def data(self, count: int) -> object:
        value = self.value
        denoise = staticmethod(lambda x, sigma: x * value)
        return type("Batch", (), {"x": torch.zeros(count, 3, dtype=torch.float64), "denoise": denoise})()

    def progress(self, done: int, total: int, message: str) -> None:
        assert (total, message) in ((4, "moments"), (3, "moments"))
        assert done <= total


def test_estimates_stay_between_zero_and_the_noise() -> None:
    method = AnalyticDPM(levels=3, images=4, batch=3)
    # D = k x at data 0: |x - D|^2 = (1 - k)^2 sigma^2 e^2, so C = sigma^2 (1 - (1 - k)^2 e^2) but for the control
    assert method.fit(Constant(-1.0), 1)["covariance"].tolist() == [0.0, 0.0, 0.0]  # type: ignore[arg-type]
    assert method.fit(Constant(0.0), 1)["covariance"].tolist() == [0.0, 0.0, 0.0]  # type: ignore[arg-type]
    some = method.fit(Constant(0.02), 1)["covariance"]  # type: ignore[arg-type]
    assert float(some[0] / some[2]) == pytest.approx(16.0)
    task = Constant(0.02)
    task.generator = torch.Generator().manual_seed(3)
    square = AnalyticDPM(levels=3, images=3, batch=3).fit(task, 1)["covariance"]  # type: ignore[arg-type]
    e = torch.randn(3, 3, generator=torch.Generator().manual_seed(3))
    expected = 4.0 * (2 * 0.02 - 0.02**2) * float(e.double().square().mean())
    assert float(square[1]) == pytest.approx(expected, rel=1e-6)


def test_variance_of_samples_in_few_steps(fitted: Mapping[str, Tensor]) -> None:
    """Five steps of DDPM with its own variances lose much of the data's; the optimal ones keep it."""
    suite = Mixture()
    teacher = Teacher.load(suite)
    _, covariance = mixture("mixture-2d").moments()
    total = float(covariance.trace())

    def lost(spec: str, artifact: Mapping[str, Tensor], nfe: int) -> float:
        samples, _ = teacher.generate(create("method", spec), nfe, 3, range(1500), artifact)
        return abs(float(samples.double().var(0).sum()) / total - 1)

    spec = "analytic_dpm[levels=16,images=2000,batch=500]"
    for ours, theirs in ((spec, "ddpm"), (spec.replace("]", ",form=ddim,eta=0.0]"), "ddim")):
        assert lost(ours, fitted, 5) < 0.1  # most of it in the last jump to 0
        assert lost(theirs, {}, 5) > 0.5


def test_levels_of_the_grid_are_looked_up() -> None:
    """One step from 80 to 2 with a made-up covariance: the noise's variance is the posterior's plus its share."""
    problem, step = _problem(), create("method", "analytic_dpm[grid=user[sigmas=80/2]]")
    found = step.sample(problem({"sigma": torch.tensor([90.0, 1.0]), "covariance": torch.tensor([7.0, 7.0])}), 1)
    again = create("method", "ddpm[grid=user[sigmas=80/2]]").sample(problem({}), 1)
    kept = 4.0 / 6400
    own = 4.0 * (1 - kept)
    ratio = math.sqrt((own + (1 - kept) ** 2 * 7.0) / own)
    still = problem({}, quiet=True)
    mean = create("method", "ddpm[grid=user[sigmas=80/2]]").sample(still, 1)
    torch.testing.assert_close((found - mean), ratio * (again - mean), rtol=1e-6, atol=1e-9)


def _problem() -> Callable:
    from dataclasses import replace

    teacher = Teacher.load(Mixture(), dtype=torch.float64)
    silent = type("Silent", (), {"normal": staticmethod(lambda: torch.zeros(3, 2, dtype=torch.float64))})()

    def make(artifact: Mapping[str, Tensor], quiet: bool = False) -> object:
        problem = teacher.problem(0, range(3), Ledger(), artifact)
        return replace(problem, noise=silent) if quiet else problem

    return make


@pytest.mark.parametrize("variant", ["", ",form=ddim,eta=0.5,bound=2.0", ",clip_steps=2,clip_pixel=4.0"])
def test_contract_with_moments(fitted: Mapping[str, Tensor], variant: str) -> None:
    spec = f"analytic_dpm[levels=16,images=2000,batch=500{variant}]"
    outcomes = run_checks(spec, Stage(Mixture(), lambda method, nfe: fitted))
    assert not [outcome.message for outcome in outcomes if outcome.status == "failed"]
    ran = {outcome.check.name for outcome in outcomes if outcome.status == "passed"}
    assert ran >= {"budget", "guidance", "precision", "batch", "determinism", "levels", "artifact"}


def test_one_artifact_for_all_budgets() -> None:
    assert {AnalyticDPM().artifact_name(nfe) for nfe in (1, 5, 10)} == {"moments"}
    assert set(AnalyticDPM.model_fields) - AnalyticDPM.sampling_only == {"levels", "images", "batch"}


def test_what_is_refused() -> None:
    problem = _problem()({})
    with pytest.raises(Unsupported, match="bench fit with --nfe 4"):
        AnalyticDPM().sample(problem, 4)
    with pytest.raises(Unsupported, match="use ddpm or ddim"):
        AnalyticDPM().integrate(problem.denoise, problem.x, problem.grid("karras", 2), problem.noise)
    with pytest.raises(ValidationError, match="use form=ddim"):
        AnalyticDPM(eta=0.5)
    for wrong in ({"eta": 1.5}, {"eta": -0.1}, {"bound": -1.0}, {"clip_steps": -1}, {"clip_pixel": -1.0}):
        with pytest.raises(ValidationError):
            AnalyticDPM(form="ddim", **wrong)  # type: ignore[arg-type]
    for wrong in ({"levels": 1}, {"images": 0}, {"batch": 0}, {"form": "sde"}):
        with pytest.raises(ValidationError):
            AnalyticDPM(**wrong)  # type: ignore[arg-type]
    assert AnalyticDPM(form="ddim", eta=0.0, clip_pixel=0.0, levels=2, images=1, batch=1).eta == 0
