"""OCM: what is regressed is the closed form for a Gaussian; the head learns it for vectors and images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from bench.api import Unsupported
from bench.contract import Stage, run_checks
from bench.covariance_head import head, new_head, share
from bench.jacobian import jacobian_product
from bench.nfe import Ledger
from bench.registry import create
from bench.sampling import Teacher
from bench.suites.mixture import Mixture, mixture
from methods.calibrated.ocm import OCM


@pytest.fixture(scope="module")
def fitted(task: Callable) -> dict[str, Tensor]:
    return OCM(width=8, iterations=5, batch=16).fit(task(), 5)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 20.0])
def test_target_of_a_gaussian_is_its_posterior_variance(sigma: float) -> None:
    gmm = mixture("gaussian")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    signs = torch.randn(30, 4, generator=generator, dtype=torch.float64).sign()
    _, product = jacobian_product(gmm.denoise, x, sigma, signs)
    variance = gmm.std[0] ** 2
    exact = variance * sigma**2 / (variance + sigma**2)
    torch.testing.assert_close(sigma**2 * signs * product, exact.expand(30, 4))


@pytest.mark.parametrize("shape", [(5,), (2, 4, 4), (3, 4)])
def test_head_against_layers(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    weights = new_head(shape, 6, generator)
    assert all(float(weights[f"weight{k}"].std()) > 0 for k in range(2))
    weights["scale"] = torch.tensor(0.7)
    x, x0_hat = torch.randn(2, 3, *shape, generator=generator)
    torch.testing.assert_close(head(weights, x, x0_hat, 2.0), torch.ones_like(x))  # untrained
    for k in range(3):
        weights[f"weight{k}"] = torch.randn(weights[f"weight{k}"].shape, generator=generator)
        weights[f"bias{k}"] = torch.randn(weights[f"bias{k}"].shape, generator=generator)
    image = len(shape) == 3
    size = 2 if image else math.prod(shape)
    flat = (lambda v: v) if image else (lambda v: v.reshape(3, -1))
    level = torch.full((3, 1, 4, 4) if image else (3, 1), math.log(2.0) / 4)
    out = torch.cat([flat(x / math.hypot(0.7, 2.0)), flat(x0_hat / 0.7), level], 1)
    for k, (inside, outside) in enumerate([(2 * size + 1, 6), (6, 6), (6, size)]):
        layer = nn.Conv2d(inside, outside, 3, padding=1) if image else nn.Linear(inside, outside)
        layer.load_state_dict({"weight": weights[f"weight{k}"], "bias": weights[f"bias{k}"]})
        out = layer(out) if k == 0 else layer(nn.SiLU()(out))
    expected = nn.Softplus()(out + math.log(math.e - 1)).view_as(x)
    torch.testing.assert_close(head(weights, x, x0_hat, 2.0), expected)


def test_new_heads_keep_the_size_of_what_goes_through() -> None:
    weights = new_head((8, 16, 16), 40, torch.Generator().manual_seed(0))
    assert [tuple(weights[f"weight{k}"].shape) for k in range(3)] == [(40, 17, 3, 3), (40, 40, 3, 3), (8, 40, 3, 3)]
    assert float(weights["weight0"].std()) == pytest.approx((17 * 9) ** -0.5, rel=0.05)
    assert float(weights["weight1"].std()) == pytest.approx((40 * 9) ** -0.5, rel=0.05)
    wide = new_head((3, 20), 50, torch.Generator().manual_seed(0))
    assert [tuple(wide[f"weight{k}"].shape) for k in range(3)] == [(50, 121), (50, 50), (60, 50)]
    assert float(wide["weight0"].std()) == pytest.approx(121**-0.5, rel=0.05)
    assert not wide["weight2"].any() and not any(wide[f"bias{k}"].any() for k in range(3))


def test_share() -> None:
    assert float(share(torch.tensor(0.5), 2.0)) == pytest.approx(0.25 / 4.25)


def test_learns_the_posterior_variance_of_a_gaussian(task: Callable) -> None:
    fitting = task("gaussian")
    method = OCM(width=24, iterations=300, batch=32, rate=1e-2)
    artifact = method.fit(fitting, 5)
    assert (fitting.ledger.network_rows, fitting.images) == (300 * 32, 301 * 32)
    assert {value.dtype for value in artifact.values()} == {torch.float32}
    assert not any(value.requires_grad for value in artifact.values())
    gmm, generator = mixture("gaussian"), torch.Generator().manual_seed(4)
    variance, worst, before = gmm.std[0] ** 2, [], []
    assert float(artifact["scale"]) == pytest.approx(float(gmm.moments()[1].diagonal().mean().sqrt()), rel=0.3)
    for sigma in (0.01, 0.1, 0.5, 2.0, 20.0):
        x = gmm.mean + (variance + sigma**2).sqrt() * torch.randn(64, 4, generator=generator)
        exact = variance / (variance + sigma**2) / share(artifact["scale"], sigma)
        ratio = head(artifact, x.float(), gmm.denoise(x, sigma).float(), sigma) / exact
        worst.append(float(ratio.log().abs().mean()))
        before.append(float(exact.log().abs().mean()))
    assert sum(worst) < 0.35 * sum(before)


class Images:
    """A task on images whose teacher shrinks by half of what a Gaussian of the data's width would."""

    sigma_min, sigma_max = 0.1, 10.0

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.levels: list[float] = []
        self.told: list[tuple[int, int]] = []

    def data(self, count: int) -> object:
        x = torch.randn(count, 1, 3, 3, generator=self.generator)

        def denoise(x: Tensor, sigma: float) -> Tensor:
            self.levels.append(sigma)
            return 0.5 / (1 + sigma**2) * x

        return type("Batch", (), {"x": x, "denoise": staticmethod(denoise)})()

    def progress(self, done: int, total: int, message: str) -> None:
        self.told.append((done, total))


def test_images() -> None:
    task = Images()
    artifact = OCM(width=4, iterations=120, batch=8, rate=0.02).fit(task, 1)  # type: ignore[arg-type]
    assert artifact["weight0"].shape == (4, 3, 3, 3)
    assert task.told[-1] == (120, 120)
    assert 0.1 <= min(task.levels) < 0.15 < 6 < max(task.levels) <= 10.0
    logs = torch.tensor(task.levels).log10()
    assert float(logs.mean()) == pytest.approx(0.0, abs=0.2)
    x = torch.randn(16, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    for sigma in (0.2, 1.0, 5.0):
        scaled = math.hypot(1, sigma) * x
        found = share(artifact["scale"], sigma) * head(artifact, scaled, 0.5 / (1 + sigma**2) * scaled, sigma)
        assert float(found.mean()) == pytest.approx(0.5 / (1 + sigma**2), rel=0.25)


def test_no_training_is_a_gaussian_of_the_width_of_the_data(task: Callable) -> None:
    artifact = OCM(iterations=0, batch=400).fit(task(), 1)
    x = torch.randn(3, 2)
    torch.testing.assert_close(head(artifact, x, x, 0.3), torch.ones(3, 2))
    assert artifact["weight0"].shape == (32, 5)
    assert float(artifact["scale"]) == pytest.approx(0.96, abs=0.1)  # of all coordinates together


@pytest.mark.parametrize("average", [False, True])
def test_one_step_with_a_head_that_is_known(average: bool) -> None:
    """From 80 to 2: the noise is that of DDPM, widened by the head's share."""
    weights = {name: 0 * value for name, value in new_head((2,), 3, torch.Generator()).items()}
    raw = torch.tensor([0.4, -1.0], dtype=torch.float64)
    artifact = {**weights, "bias2": raw, "scale": torch.tensor(50.0)}
    teacher = Teacher.load(Mixture(), dtype=torch.float64)
    problem = teacher.problem(0, range(3), Ledger(), artifact)
    grid = "grid=user[sigmas=80/2]"
    found = create("method", f"ocm[{grid},average={str(average).lower()}]").sample(problem, 1)
    again, silent = (
        create("method", f"ddpm[{grid}]").sample(each, 1)
        for each in (
            teacher.problem(0, range(3), Ledger()),
            replace(problem, noise=type("Silent", (), {"normal": staticmethod(lambda: torch.zeros(3, 2).double())})()),
        )
    )
    kept = 4.0 / 6400
    spread = 6400 * (2500 / 8900) * torch.log1p((math.e - 1) * raw.exp())
    spread = spread.mean() if average else spread
    ratio = (1 + (1 - kept) ** 2 * spread / (4.0 * (1 - kept))).sqrt()
    torch.testing.assert_close(found - silent, ratio * (again - silent), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("variant", ["", ",form=ddim,eta=0.5,bound=2.0", ",average=true,clip_steps=2,clip_pixel=4.0"])
def test_contract_with_a_head(fitted: Mapping[str, Tensor], variant: str) -> None:
    spec = f"ocm[width=8,iterations=5,batch=16{variant}]"
    outcomes = run_checks(spec, Stage(Mixture(), lambda method, nfe: fitted))
    assert not [outcome.message for outcome in outcomes if outcome.status == "failed"]
    ran = {outcome.check.name for outcome in outcomes if outcome.status == "passed"}
    assert ran >= {"budget", "guidance", "precision", "batch", "determinism", "levels", "artifact"}


def test_one_artifact_for_all_budgets() -> None:
    assert {OCM().artifact_name(nfe) for nfe in (1, 5, 10)} == {"head"}
    assert set(OCM.model_fields) - OCM.sampling_only == {"width", "iterations", "batch", "rate"}


def test_what_is_refused() -> None:
    problem = Stage.default().teacher(False, torch.float32).problem(0, [0], Ledger())
    with pytest.raises(Unsupported, match="bench fit with --nfe 4"):
        OCM().sample(problem, 4)
    with pytest.raises(Unsupported, match="use ddpm or ddim"):
        OCM().integrate(problem.denoise, problem.x, problem.grid("karras", 2), problem.noise)
    with pytest.raises(ValidationError, match="use form=ddim"):
        OCM(eta=0.5)
    for wrong in ({"eta": 1.5}, {"eta": -0.1}, {"bound": -1.0}, {"clip_steps": -1}, {"clip_pixel": -1.0}):
        with pytest.raises(ValidationError):
            OCM(form="ddim", **wrong)  # type: ignore[arg-type]
    for wrong in ({"width": 0}, {"iterations": -1}, {"batch": 0}, {"rate": 0.0}):
        with pytest.raises(ValidationError):
            OCM(**wrong)  # type: ignore[arg-type]
    assert OCM(form="ddim", eta=0.0, clip_pixel=0.0, width=1, batch=1).eta == 0
