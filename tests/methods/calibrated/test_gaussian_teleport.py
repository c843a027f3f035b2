"""The closed form against the integrated ODE and matrix functions; the moments against numpy; the hand-over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from bench.api import Problem, Unsupported
from bench.contract import Call, Stage, Subject, run_checks
from bench.registry import create
from bench.suites.mixture import Mixture
from methods.calibrated.gaussian_teleport import GaussianTeleport, moments, teleport

VALUES = torch.tensor([4.0, 1.5, 0.3, 0.3, 0.3], dtype=torch.float64)
MEAN = torch.tensor([0.5, -1.0, 0.25, 0.0, 2.0], dtype=torch.float64)


def rotation() -> Tensor:
    return torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]


def gaussian(k: int = 5) -> dict[str, Tensor]:
    return {"mean": MEAN, "vectors": rotation()[:, :k], "values": VALUES[:k], "tail": torch.tensor(0.3)}


def states(sigma: float) -> Tensor:
    return sigma * torch.randn(6, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def denoise(x: Tensor, sigma: float) -> Tensor:
    covariance = rotation() @ torch.diag(VALUES) @ rotation().T
    gain = covariance @ torch.linalg.inv(covariance + sigma**2 * torch.eye(5, dtype=torch.float64))
    return MEAN + (x - MEAN) @ gain.T


@pytest.mark.parametrize("end", [20.0, 2.0, 0.1])
@pytest.mark.parametrize("k", [5, 2])
def test_solves_the_ode_of_a_gaussian(end: float, k: int) -> None:
    x = states(50.0)

    def slope(log_sigma: float, flat: np.ndarray) -> np.ndarray:
        at = torch.from_numpy(flat).view(6, 5)
        return (at - denoise(at, float(np.exp(log_sigma)))).flatten().numpy()

    span = (np.log(50.0), np.log(end))
    exact = solve_ivp(slope, span, x.flatten().numpy(), method="DOP853", rtol=1e-11, atol=1e-11).y[:, -1]
    # with k = 2 the three cut eigenvalues are equal, so an isotropic tail is exact as well
    found = teleport(x, gaussian(k), 50.0, end, 0.3)
    assert torch.allclose(found, torch.from_numpy(exact).view(6, 5), atol=1e-8)


def test_a_tail_without_variance_shrinks_with_sigma() -> None:
    x, vectors = states(30.0), rotation()
    moved = (teleport(x, gaussian(2), 30.0, 6.0, 0.0) - MEAN) @ vectors
    before = (x - MEAN) @ vectors
    assert torch.allclose(moved[:, 2:], before[:, 2:] * 0.2)
    assert torch.allclose(moved[:, 0], before[:, 0] * (40 / 904) ** 0.5)


def test_a_point_is_a_straight_line() -> None:
    point = {**gaussian(), "values": torch.zeros(5)}
    x = states(10.0).view(6, 1, 5, 1).float()
    found = teleport(x, point, 10.0, 2.5, 0.0)
    assert found.shape == x.shape and found.dtype == torch.float32
    mean = MEAN.view(1, 5, 1).float()
    assert torch.allclose(found, mean + 0.25 * (x - mean), atol=1e-5)


@dataclass
class Data:
    """A task that hands out one population in order."""

    rows: Tensor
    drawn: list[int] = field(default_factory=list)
    done: list[tuple[int, int]] = field(default_factory=list)

    def data(self, count: int) -> SimpleNamespace:
        start = sum(self.drawn)
        self.drawn.append(count)
        return SimpleNamespace(x=self.rows[start : start + count])

    def progress(self, done: int, total: int, message: str = "") -> None:
        self.done.append((done, total))


def test_moments_are_those_of_all_samples() -> None:
    rows = torch.randn(2300, 1, 2, 3, generator=torch.Generator().manual_seed(3)) * torch.tensor([1.0, 2.0, 3.0]) + 0.7
    task = Data(rows)
    mean, covariance = moments(task, 2300)  # type: ignore[arg-type]
    flat = rows.flatten(1).double().numpy()
    assert np.allclose(mean.numpy(), flat.mean(0))
    assert np.allclose(covariance.numpy(), np.cov(flat.T, bias=True))
    assert task.drawn == [1000, 1000, 300]
    assert task.done == [(1000, 2300), (2000, 2300), (2300, 2300)]


def test_fit_keeps_the_largest_directions() -> None:
    rows = torch.randn(2000, 4, generator=torch.Generator().manual_seed(4)) * torch.tensor([0.5, 3.0, 1.0, 2.0])
    flat = rows.double().numpy()
    expected = np.linalg.eigvalsh(np.cov(flat.T, bias=True))[::-1]
    found = GaussianTeleport(k=2, images=2000).fit(Data(rows), 4)  # type: ignore[arg-type]
    assert {name: (tuple(value.shape), value.dtype) for name, value in found.items()} == {
        "mean": ((4,), torch.float32),
        "vectors": ((4, 2), torch.float32),
        "values": ((2,), torch.float32),
        "tail": ((), torch.float32),
    }
    assert np.allclose(found["values"].numpy(), expected[:2], rtol=1e-5)
    assert float(found["tail"]) == pytest.approx(expected[2:].mean(), rel=1e-5)
    assert np.allclose(np.abs(found["vectors"].numpy()).argmax(0), [1, 3])
    everything = GaussianTeleport(images=2000).fit(Data(rows), 4)  # type: ignore[arg-type]
    assert everything["vectors"].shape == (4, 4) and float(everything["tail"]) == 0
    full = everything["vectors"] * everything["values"] @ everything["vectors"].T
    assert np.allclose(full.numpy(), np.cov(flat.T, bias=True), atol=1e-4)
    flat_data = torch.ones(2000, 3) * 0.1  # a covariance that rounds to just below 0
    assert float(GaussianTeleport(images=2000).fit(Data(flat_data), 4)["values"].min()) >= 0  # type: ignore[arg-type]


def problem(artifact: dict[str, Tensor]) -> tuple[Problem, list[float]]:
    subject = Subject("gaussian_teleport", GaussianTeleport(), Stage(Mixture(preset="gaussian")))
    made, _, levels = subject.problem(Call(1, dtype=torch.float64))
    return replace(made, artifact=artifact), levels


def exact_artifact() -> dict[str, Tensor]:
    gmm = Mixture(preset="gaussian").gmm
    order = gmm.std[0].argsort(descending=True)
    vectors = torch.eye(4, dtype=torch.float64)[:, order]
    return {"mean": gmm.mean[0], "vectors": vectors, "values": gmm.std[0][order] ** 2, "tail": torch.tensor(0.0)}


@pytest.mark.parametrize("skip", [20.0, 1.0])
def test_one_evaluation_at_the_level_of_the_hand_over(skip: float) -> None:
    given, levels = problem(exact_artifact())
    found = GaussianTeleport(solver="ddim", sigma_skip=skip).sample(given, 1)
    assert levels == [skip]
    std, mean = Mixture(preset="gaussian").gmm.std[0], Mixture(preset="gaussian").gmm.mean[0]
    shrink = ((skip**2 + std**2) / (given.sigma_max**2 + std**2)).sqrt()  # the solution at sigma_skip
    assert torch.allclose(found, mean + std**2 / (std**2 + skip**2) * shrink * (given.x - mean), atol=1e-12)


def test_the_solver_brings_its_grid_and_its_count() -> None:
    given, levels = problem(exact_artifact())
    GaussianTeleport(solver="heun[grid=karras[end=append]]", sigma_skip=10.0).sample(given, 5)
    middle = (0.5 * (10 ** (1 / 7) + 0.002 ** (1 / 7))) ** 7
    assert levels == pytest.approx([10.0, middle, middle, 0.002, 0.002])
    with pytest.raises(Unsupported):
        GaussianTeleport(solver="heun[grid=karras[end=append]]").sample(given, 4)


def test_the_tail_is_used_or_not() -> None:
    artifact = exact_artifact()
    artifact = {**artifact, "vectors": artifact["vectors"][:, :3], "values": artifact["values"][:3]}
    artifact["tail"] = torch.tensor(0.04)
    given, _ = problem(artifact)
    whole, _ = problem(exact_artifact())
    expected = GaussianTeleport(solver="ddim", sigma_skip=0.5).sample(whole, 2)
    assert torch.allclose(GaussianTeleport(solver="ddim", sigma_skip=0.5).sample(given, 2), expected, atol=1e-8)
    without = GaussianTeleport(solver="ddim", sigma_skip=0.5, tail="zero").sample(given, 2)
    assert torch.allclose(without[:, 1:], expected[:, 1:], atol=1e-8)
    assert float((without[:, 0] - expected[:, 0]).abs().max()) > 1e-4


@pytest.mark.parametrize("nfe", [3, 8])
def test_better_than_the_whole_range_on_the_same_budget(task: Callable, error: Callable, nfe: int) -> None:
    method = GaussianTeleport(images=4000)
    for preset in ("gaussian", "mixture-2d"):
        artifact = method.fit(task(preset), nfe)
        assert error(method, nfe, artifact, preset) < error(create("method", "dpm_solver_pp"), nfe, {}, preset)


def test_what_cannot_be_done() -> None:
    given, levels = problem(exact_artifact())
    assert {GaussianTeleport().artifact_name(nfe) for nfe in (1, 8)} == {"gaussian"}
    with pytest.raises(Unsupported, match="bench fit"):
        GaussianTeleport().sample(replace(given, artifact={}), 4)
    for skip in (80.0, 100.0):
        with pytest.raises(Unsupported, match="not below"):
            GaussianTeleport(sigma_skip=skip).sample(given, 4)
    with pytest.raises(Unsupported, match="starts at 40"):
        GaussianTeleport(solver="ddim[grid=user[sigmas=40/1/0]]").sample(given, 2)
    for wrong in ({"sigma_skip": 0.0}, {"k": 0}, {"images": 1}, {"tail": "none"}):
        with pytest.raises(ValueError):
            GaussianTeleport(**wrong)
    assert not levels


@pytest.mark.parametrize(
    "spec", ["gaussian_teleport[images=500]", "gaussian_teleport[images=500,solver=heun,k=1,tail=zero]"]
)
def test_contract_with_an_artifact(task: Callable, spec: str) -> None:
    fitted = create("method", spec).fit(task(), 4)
    outcomes = run_checks(spec, Stage(Mixture(), lambda method, nfe: fitted))
    assert not [outcome.message for outcome in outcomes if outcome.status == "failed"]
    ran = {outcome.check.name for outcome in outcomes if outcome.status == "passed"}
    assert ran >= {"budget", "guidance", "precision", "batch", "determinism", "levels", "artifact"}
