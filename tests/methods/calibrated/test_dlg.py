"""The levels a budget is spent at, samples of a Gaussian by hand, the classifier, and the contract with an artifact."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from bench.api import Method, Problem, Unsupported
from bench.contract import Call, Stage, Subject, run_checks
from bench.fit import Task
from bench.suites.mixture import Mixture
from methods.calibrated.dlg import DLG, logits, most_probable

TOP, LOWEST = 80.0, 0.02


def always(level: float, d: int = 4) -> dict[str, Tensor]:
    """A classifier that prefers one level, whatever it sees."""
    bias = torch.zeros(3, 3)
    bias[1, -1] = 1.0
    levels = torch.tensor([LOWEST, level, TOP], dtype=torch.float64)
    return {"layer0": torch.zeros(2, d + 1), "layer1": torch.zeros(2, 3), "layer2": bias, "level": levels}


def by_size(small: float, large: float, d: int = 4) -> dict[str, Tensor]:
    """A classifier that prefers ``small`` for states whose first entry is below 0, else ``large``."""
    first = torch.zeros(2, d + 1)
    first[0, 0] = 1.0  # relu(asinh x_0)
    last = torch.tensor([[0.0, 0.0, 1e-6], [1.0, 0.0, 0.0]])
    middle = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    return {"layer0": first, "layer1": middle, "layer2": last, "level": torch.tensor([small, large]).double()}


def problem(artifact: Mapping[str, Tensor], index: tuple[int, ...] = (0,)) -> tuple[Problem, list[float]]:
    subject = Subject("dlg", DLG(), Stage(Mixture(preset="gaussian")))
    made, _, levels = subject.problem(Call(1, index=index, dtype=torch.float64))
    return replace(made, artifact=artifact), levels


def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
    gmm = Mixture(preset="gaussian").gmm
    gain = gmm.std**2 / (gmm.std**2 + torch.as_tensor(sigma, dtype=torch.float64).reshape(-1, 1) ** 2)
    return gmm.mean + gain * (x - gmm.mean)


def draws(index: tuple[int, ...], count: int) -> list[Tensor]:
    fresh, _ = problem(always(1.0), index)
    return [fresh.noise.normal() for _ in range(count)]


def between(high: float, share: float) -> float:
    return (high ** (1 / 7) + share * (LOWEST ** (1 / 7) - high ** (1 / 7))) ** 7


HALF, THIRD = between(TOP, 1 / 2), [between(TOP, 1 / 3), between(TOP, 2 / 3)]
AT_ONE = between(1.0, 1 / 2)


@pytest.mark.parametrize(
    ("nfe", "expected"),
    [
        (4, [TOP, 1, 1]),
        (5, [TOP, 1, 1, 1]),
        (6, [TOP, HALF, HALF, 1, 1]),
        (7, [TOP, HALF, HALF, 1, 1, 1]),
        (8, [TOP, HALF, HALF, 1, 1, AT_ONE, AT_ONE]),
        (10, [TOP, THIRD[0], THIRD[0], THIRD[1], THIRD[1], 1, 1, AT_ONE, AT_ONE]),
    ],
)
def test_where_a_budget_is_spent(nfe: int, expected: list[float]) -> None:
    given, levels = problem(always(1.0))
    DLG(churn=0).sample(given, nfe)
    assert levels == pytest.approx([*expected, LOWEST])


def test_more_moves() -> None:
    given, levels = problem(always(1.0))
    DLG(churn=0, moves=3).sample(given, 6)
    assert levels == pytest.approx([TOP, 1, 1, 1, 1, LOWEST])
    with pytest.raises(Unsupported, match="nfe >= 6"):
        DLG(churn=0, moves=3).sample(given, 5)


def test_nodes_that_end_in_the_lowest_level() -> None:
    given, levels = problem(always(1.0))
    DLG(churn=0, end="append").sample(given, 8)
    assert levels == pytest.approx([TOP, LOWEST, LOWEST, 1, 1, LOWEST, LOWEST, LOWEST])
    levels.clear()
    DLG(churn=0, end="append").sample(given, 4)
    assert levels == pytest.approx([TOP, 1, 1, LOWEST])


@pytest.mark.parametrize(
    ("level", "churn", "raised"),
    [
        (1.0, 80.0, 2**0.5),
        (1.0, 0.2, 1.1),
        (0.1, 80.0, 0.1 * 2**0.5),
        (0.0999, 80.0, 0.0999),
        (2.0, 80.0, 2 * 2**0.5),
        (2.001, 80.0, 2.001),
    ],
)
def test_churn_between_its_levels(level: float, churn: float, raised: float) -> None:
    given, levels = problem(always(level))
    DLG(churn=churn).sample(given, 4)
    assert levels == pytest.approx([TOP, level, raised, LOWEST])


def test_churn_is_divided_by_one_more_than_the_intervals_and_stays_below_the_top() -> None:
    given, levels = problem(always(1.0))
    DLG(churn=0.3).sample(given, 8)
    again = 1.1 * AT_ONE if AT_ONE >= 0.1 else AT_ONE
    assert levels[4:] == pytest.approx([1.1, AT_ONE, again, LOWEST])
    given, levels = problem(always(1.0))
    DLG().sample(replace(given, sigma_max=1.2), 4)
    assert levels == pytest.approx([1.2, 1, 1.2, LOWEST])


def test_a_sample_by_hand() -> None:
    index = (0, 1, 2)
    given, _ = problem(always(1.0), index)
    z = draws(index, 4)  # for the first integrator, which uses none at 80; the restart; the move; the churn
    start = denoise(given.x, TOP) + 0.7 * z[1]
    raised = 2**0.5
    expected = denoise(denoise(start + 1.007 * z[3], raised), LOWEST)  # the state before the move: equal levels
    assert torch.allclose(DLG(restart=0.7, eta=0.5).sample(given, 4), expected, atol=1e-12)
    given, _ = problem(always(1.0), index)
    plain = denoise(denoise(denoise(given.x, TOP) + 0.7 * z[0], 1.0), LOWEST)
    assert torch.allclose(DLG(restart=0.7, churn=0).sample(given, 4), plain, atol=1e-12)


def test_the_state_of_the_smallest_level_is_kept() -> None:
    index = tuple(range(40))
    given, _ = problem(by_size(0.5, 1.5), index)
    z = draws(index, 3)

    def level(x: Tensor) -> Tensor:
        return torch.where(x[:, :1] < 0, 0.5, 1.5).double()

    eta = 0.8
    states = [denoise(given.x, TOP) + 2.0 * z[0]]
    for noise in z[1:]:
        x, s = states[-1], level(states[-1])
        states.append(x + eta / 2 * (denoise(x, s) - x) / s**2 + math.sqrt(eta) * noise)
    signs = {tuple((x[row, 0] < 0).item() for x in states) for row in range(40)}
    assert len(signs) >= 5  # going down, going up, coming back, staying
    found = DLG(eta=eta, churn=0, moves=2, restart=2.0).sample(given, 5)
    for row in range(40):
        kept = next((x[row] for x in states if float(x[row, 0]) < 0), states[0][row])
        expected = denoise(denoise(kept[None], level(kept[None])), LOWEST)[0]
        assert torch.allclose(found[row], expected, atol=1e-9), row


def test_heuns_step_on_the_samples_own_nodes() -> None:
    index = tuple(range(8))
    given, _ = problem(by_size(0.5, 1.5), index)
    z = draws(index, 1)[0]
    half = between(TOP, 0.5)
    x = given.x
    slope = (x - denoise(x, TOP)) / TOP
    ahead = x + (half - TOP) * slope
    x = x + (half - TOP) / 2 * (slope + (ahead - denoise(ahead, half)) / half)
    x = denoise(x, half) + z
    s = torch.where(x[:, :1] < 0, 0.5, 1.5).double()
    assert len(set(s.flatten().tolist())) == 2
    # the move is small and drowned: eta near 0 leaves the state, and a level that is no smaller is not taken
    middle = (s ** (1 / 7) + 0.5 * (LOWEST ** (1 / 7) - s ** (1 / 7))) ** 7
    slope = (x - denoise(x, s)) / s
    ahead = x + (middle - s) * slope
    x = x + (middle - s) / 2 * (slope + (ahead - denoise(ahead, middle)) / middle)
    expected = denoise(denoise(x, middle), LOWEST)
    assert torch.allclose(DLG(eta=1e-16, churn=0).sample(given, 8), expected, atol=1e-9)


def test_the_classifier_by_hand() -> None:
    layers = [
        torch.tensor([[1.0, 2.0, -1.0], [-1.0, 0.0, 0.5]]).double(),
        torch.tensor([[1.0, 1.0, 0.0], [0.0, -2.0, 3.0]]).double(),
        torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.25]]).double(),
    ]
    x = torch.tensor([[math.sinh(1.0), math.sinh(0.5)], [math.sinh(-2.0), 0.0]]).double()
    # first units (1 + 1 - 1, -1 + .5) and (-2 - 1, 2 + .5); then (1, 3) and (2.5, -2)
    assert torch.allclose(logits(x, layers), torch.tensor([[1.0, 3.25], [2.5, 0.25]]).double())
    artifact = {f"layer{i}": layer.half() for i, layer in enumerate(layers)} | {"level": torch.tensor([7.0, 9.0])}
    assert most_probable(x.view(2, 1, 2, 1).float(), artifact).tolist() == [9.0, 7.0]
    assert most_probable(x, artifact).dtype == torch.float64


@dataclass
class Data:
    """A task whose data are 0, so that a state is its noise."""

    d: int
    sigma_max: float = 50.0
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(1))
    done: list[tuple[int, int]] = field(default_factory=list)

    def data(self, count: int) -> SimpleNamespace:
        return SimpleNamespace(x=torch.zeros(count, 1, self.d, dtype=torch.float64))

    def progress(self, done: int, total: int, message: str = "") -> None:
        self.done.append((done, total))


def test_the_fitted_classifier_finds_the_level() -> None:
    task = Data(d=30)
    method = DLG(steps=600, levels=40, hidden=48, lowest=0.05)
    found = method.fit(task, 4)  # type: ignore[arg-type]
    assert {name: (tuple(value.shape), value.dtype) for name, value in found.items()} == {
        "level": ((40,), torch.float64),
        "layer0": ((48, 31), torch.float16),
        "layer1": ((48, 49), torch.float16),
        "layer2": ((40, 49), torch.float16),
    }
    ratios = found["level"][1:] / found["level"][:-1]
    assert torch.allclose(ratios, torch.full((39,), 1000 ** (1 / 39), dtype=torch.float64))
    assert float(found["level"][0]) == pytest.approx(0.05) and float(found["level"][-1]) == pytest.approx(50)
    assert task.done[-1] == (600, 600) and len(task.done) == 600
    for level in (0.3, 3.0, 20.0):
        x = level * torch.randn(400, 30, generator=torch.Generator().manual_seed(2))
        error = (most_probable(x, found) / level).log()
        # 30 numbers tell the level to 1 / sqrt(60) = 0.13 at best
        assert float(error.mean().abs()) < 0.15 and float(error.std()) < 0.45


@cache
def fitted(preset: str = "mixture-2d") -> Mapping[str, Tensor]:
    def other(nfe: int) -> None:
        raise AssertionError

    task = Task(Mixture(preset=preset), torch.Generator().manual_seed(1), other)  # type: ignore[arg-type]
    return DLG(steps=300).fit(task, 4)


@pytest.mark.parametrize("spec", ["dlg[steps=300]", "dlg[steps=300,churn=0,moves=2,end=append]"])
def test_contract_with_an_artifact(spec: str) -> None:
    def artifact(method: Method, nfe: int) -> Mapping[str, Tensor]:
        return fitted()

    outcomes = run_checks(spec, Stage(Mixture(), artifact))
    assert not [outcome.message for outcome in outcomes if outcome.status == "failed"]
    ran = {outcome.check.name for outcome in outcomes if outcome.status == "passed"}
    assert ran >= {"budget", "guidance", "precision", "batch", "determinism", "levels", "artifact"}


def test_samples_follow_a_gaussian() -> None:
    given, _ = problem(always(0.5), tuple(range(2000)))
    found = DLG(restart=0.5, churn=0).sample(given, 96)  # Heun overshoots with few steps
    gmm = Mixture(preset="gaussian").gmm
    assert torch.allclose(found.mean(0), gmm.mean[0], atol=0.1)
    assert torch.allclose(found.std(0), gmm.std[0], rtol=0.05)


def test_what_cannot_be_done() -> None:
    given, levels = problem(always(1.0))
    assert {DLG().artifact_name(nfe) for nfe in (4, 8)} == {"classifier"}
    with pytest.raises(Unsupported, match="bench fit"):
        DLG().sample(replace(given, artifact={}), 8)
    for nfe in (1, 2, 3):
        with pytest.raises(Unsupported, match="nfe >= 4"):
            DLG().sample(given, nfe)
    for wrong in ({"moves": 0}, {"eta": 0.0}, {"end": "none"}, {"lowest": 0.0}, {"levels": 1}, {"churn": -1.0}):
        with pytest.raises(ValueError):
            DLG(**wrong)
    assert not levels
