"""The map against monotone rearrangement and symmetry, the mixture of cells by hand, the hand-over in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from bench.api import Problem, Unsupported
from bench.contract import Call, Stage, Subject, run_checks
from bench.registry import create
from bench.suites.mixture import Mixture
from methods.calibrated.dpm_ot import DPMOT, transport


@dataclass
class Data:
    """A task with one population, a seed, and a note of what was told."""

    rows: Tensor = field(default_factory=lambda: torch.zeros(2, 1))
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(1))
    done: list[tuple[int, int]] = field(default_factory=list)

    def data(self, count: int) -> SimpleNamespace:
        return SimpleNamespace(x=self.rows[:count])

    def progress(self, done: int, total: int, message: str = "") -> None:
        self.done.append((done, total))


def heights(targets: Tensor, seed: int = 1, **options: float) -> Tensor:
    task = Data(generator=torch.Generator().manual_seed(seed))
    return DPMOT(**options).potential(targets, task)  # type: ignore[arg-type]


def masses(targets: Tensor, h: Tensor, count: int = 400_000) -> Tensor:
    u = torch.randn(count, targets.shape[1], generator=torch.Generator().manual_seed(9))
    return torch.bincount((u @ targets.T + h).argmax(1), minlength=len(targets)) / count


def test_in_one_dimension_the_map_is_monotone_rearrangement() -> None:
    # the border between neighbours is a quantile of the noise: b y_i + h_i = b y_{i+1} + h_{i+1}
    y = torch.tensor([-3.0, -1.0, -0.5, 2.0, 6.0])
    h = heights(y[:, None], steps=800, batch=4096)
    borders = norm.ppf([0.2, 0.4, 0.6, 0.8])
    assert torch.allclose((h[:-1] - h[1:]) / y.diff(), torch.tensor(borders).float(), atol=0.03)
    u = torch.tensor([[-2.0], [-0.5], [0.1], [0.6], [1.5]])
    assert transport(u, y[:, None], h, 0.0, 0.0).flatten().tolist() == y.tolist()


def test_symmetric_targets_have_equal_heights() -> None:
    h = heights(torch.eye(6), steps=800, batch=2048)
    assert float(h.abs().max()) < 0.02
    assert float(h.mean()) == pytest.approx(0, abs=1e-6)


def test_cells_have_equal_masses() -> None:
    targets = torch.randn(20, 3, generator=torch.Generator().manual_seed(5)) * torch.tensor([1.0, 3.0, 0.5]) + 2
    before, after = masses(targets, torch.zeros(20)), masses(targets, heights(targets, steps=1000, batch=4096))
    assert float((before * 20 - 1).abs().max()) > 1
    assert float((after * 20 - 1).abs().max()) < 0.05


def test_heights_have_the_units_of_the_targets() -> None:
    targets = torch.randn(8, 2, generator=torch.Generator().manual_seed(6))
    once = heights(targets, steps=30, batch=64)
    assert torch.allclose(heights(4 * targets, steps=30, batch=64), 4 * once, atol=1e-4)


def test_the_rate_falls_quadratically() -> None:
    # one noise vector per step, and all in the same cell: the gradient is constant, so Adam's step is its rate
    def draws(seed: int) -> list[float]:
        source = torch.Generator().manual_seed(seed)
        return [float(torch.randn(1, 1, generator=source)) for _ in range(3)]

    seed = next(seed for seed in range(1000) if min(draws(seed)) > 0.5)
    for steps, total in ((1, 1.0), (2, 1 + 1 / 4), (3, 1 + 4 / 9 + 1 / 9)):
        h = heights(torch.tensor([[-5.0], [5.0]]), seed, steps=steps, batch=1, rate=0.05)
        moved = 0.05 * math.sqrt(50) * total
        assert h.tolist() == pytest.approx([moved, -moved], rel=1e-5)


def test_the_fit_stores_noised_data() -> None:
    rows = torch.rand(2000, 1, 2, 2, generator=torch.Generator().manual_seed(3))
    task = Data(rows)
    found = DPMOT(targets=1500, sigma_skip=0.5, steps=4, batch=16).fit(task, 3)  # type: ignore[arg-type]
    assert {name: (tuple(value.shape), value.dtype) for name, value in found.items()} == {
        "targets": ((1500, 4), torch.float16),
        "heights": ((1500,), torch.float32),
    }
    noise = (found["targets"].float() - rows[:1500].flatten(1)) / 0.5
    assert float(noise.mean().abs()) < 0.05 and float(noise.std()) == pytest.approx(1, abs=0.04)
    assert task.done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    again = DPMOT(targets=1500, sigma_skip=0.5, steps=4, batch=16).fit(Data(rows), 7)  # type: ignore[arg-type]
    assert torch.equal(found["heights"], again["heights"])


TARGETS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-2.0, 0.0]])
HEIGHTS = torch.tensor([0.0, 0.1, 0.3])
NOISE = torch.tensor([[0.5, 0.1], [0.5, 0.6], [-1.0, 0.5]])  # planes (.5 .2 -.7), (.5 .7 -.7), (-1 .6 2.3)


def test_the_best_plane_wins() -> None:
    expected = [[1.0, 0.0], [0.0, 1.0], [-2.0, 0.0]]
    assert transport(NOISE, TARGETS, HEIGHTS, 0.0, math.pi).tolist() == expected
    assert transport(NOISE, TARGETS, HEIGHTS, 0.5, 0.0).tolist() == expected  # no two planes are parallel


def test_cells_are_mixed_up_to_an_angle() -> None:
    # normals (1, 0, -1), (0, 1, -1), (-2, 0, -1): 60 degrees between the first two, acos(1 / sqrt(10)) for 2 and 3
    mixed = [[0.75, 0.25], [0.25, 0.75]]
    assert transport(NOISE, TARGETS, HEIGHTS, 0.25, 1.05).tolist() == [*mixed, [-2.0, 0.0]]
    assert transport(NOISE, TARGETS, HEIGHTS, 0.25, 1.04).tolist() == TARGETS.tolist()
    assert transport(NOISE, TARGETS, HEIGHTS, 0.25, 1.25).tolist() == [*mixed, [-1.5, 0.25]]
    assert transport(NOISE, TARGETS, HEIGHTS, 0.25, 1.24).tolist() == [*mixed, [-2.0, 0.0]]


@pytest.mark.parametrize(
    ("other", "cosine"), [((1.0, 2.0), 5 / 6), ((-1.0, -2.0), -3 / 6), ((4.0, 2.0), 11 / 126**0.5)]
)
def test_the_angle_is_that_of_the_lifted_normals(other: tuple[float, float], cosine: float) -> None:
    targets = torch.tensor([[2.0, 1.0], other])
    u, h = torch.tensor([[0.0, 0.0]]), torch.tensor([1.0, 0.0])
    mixed = (0.5 * (targets[0] + targets[1])).tolist()
    assert transport(u, targets, h, 0.5, math.acos(cosine) + 1e-6).tolist() == [mixed]
    assert transport(u, targets, h, 0.5, math.acos(cosine) - 1e-6).tolist() == [[2.0, 1.0]]


def test_equal_targets_can_be_mixed() -> None:
    same = torch.full((2, 3), 0.1, dtype=torch.float16)
    found = transport(torch.randn(4, 3), same, torch.zeros(2), 0.5, 1e-3)
    assert torch.allclose(found, torch.full((4, 3), float(same[0, 0]), dtype=torch.float64))


def problem(artifact: dict[str, Tensor], preset: str = "gaussian") -> tuple[Problem, list[float]]:
    subject = Subject("dpm_ot", DPMOT(), Stage(Mixture(preset=preset)))
    made, _, levels = subject.problem(Call(1, index=range(12), dtype=torch.float64))
    return replace(made, artifact=artifact), levels


def artifact(d: int = 4) -> dict[str, Tensor]:
    targets = torch.randn(6, d, generator=torch.Generator().manual_seed(2))
    return {"targets": targets.half(), "heights": torch.linspace(-0.2, 0.2, 6)}


def test_one_evaluation_of_the_target() -> None:
    given, levels = problem(artifact())
    y, h = (value.double() for value in artifact().values())
    gmm, u = Mixture(preset="gaussian").gmm, given.x / 80
    best = (u @ y.T + h).argsort(1, descending=True)
    assert len(set(best[:, 0].tolist())) > 1
    for blend in (0.0, 0.3):
        state = (1 - blend) * y[best[:, 0]] + blend * y[best[:, 1]]
        expected = gmm.mean + gmm.std**2 / (gmm.std**2 + 9) * (state - gmm.mean)
        found = DPMOT(solver="ddim", sigma_skip=3.0, blend=blend, angle=math.pi).sample(given, 1)
        assert torch.allclose(found, expected, atol=1e-12)
    assert levels == [3.0, 3.0]


def test_the_solver_brings_its_grid_and_its_count() -> None:
    given, levels = problem(artifact())
    found = DPMOT(solver="heun[grid=karras[end=append]]").sample(given, 5)
    middle = (0.5 * (4 ** (1 / 7) + 0.002 ** (1 / 7))) ** 7
    assert levels == pytest.approx([4.0, middle, middle, 0.002, 0.002])
    assert found.dtype == torch.float64
    with pytest.raises(Unsupported):
        DPMOT(solver="heun[grid=karras[end=append]]").sample(given, 4)


def test_states_of_any_shape() -> None:
    given, _ = problem(artifact())
    image = replace(given, x=given.x.view(-1, 1, 2, 2).float(), denoise=lambda x, sigma: x)
    found = DPMOT(solver="ddim").sample(image, 2)
    assert found.shape == image.x.shape and found.dtype == torch.float32


def test_what_cannot_be_done() -> None:
    given, levels = problem(artifact())
    assert {DPMOT().artifact_name(nfe) for nfe in (1, 8)} == {"map"}
    with pytest.raises(Unsupported, match="bench fit"):
        DPMOT().sample(replace(given, artifact={}), 4)
    for skip in (80.0, 100.0):
        with pytest.raises(Unsupported, match="not below"):
            DPMOT(sigma_skip=skip).sample(given, 4)
    with pytest.raises(Unsupported, match="starts at 40"):
        DPMOT(solver="ddim[grid=user[sigmas=40/1/0]]").sample(given, 2)
    for wrong in ({"sigma_skip": 0.0}, {"targets": 1}, {"blend": 0.6}, {"angle": 4.0}, {"rate": 0.0}, {"batch": 0}):
        with pytest.raises(ValueError):
            DPMOT(**wrong)
    assert not levels


def test_samples_follow_the_data() -> None:
    suite = Mixture(preset="mixture-2d")
    data = suite.reference().raw[:1000].float()
    method = DPMOT(targets=500, steps=400, batch=512, sigma_skip=1.0)
    fitted = method.fit(Data(data), 8)  # type: ignore[arg-type]
    subject = Subject("dpm_ot", method, Stage(suite, lambda method, nfe: fitted))
    found = subject.sample(Call(8, index=range(1000))).samples.double()
    mean, covariance = suite.gmm.moments()
    assert torch.allclose(found.mean(0), mean, atol=0.12)
    assert torch.allclose(torch.cov(found.T), covariance, atol=0.15)


@pytest.mark.parametrize(
    "spec", ["dpm_ot[steps=20,targets=50,batch=64]", "dpm_ot[steps=20,targets=50,batch=64,blend=0.3,solver=ddpm]"]
)
def test_contract_with_an_artifact(task: Callable, spec: str) -> None:
    fitted = create("method", spec).fit(task(), 4)
    outcomes = run_checks(spec, Stage(Mixture(), lambda method, nfe: fitted))
    assert not [outcome.message for outcome in outcomes if outcome.status == "failed"]
    ran = {outcome.check.name for outcome in outcomes if outcome.status == "passed"}
    assert ran >= {"budget", "guidance", "precision", "batch", "determinism", "levels", "artifact"}
