"""The untrained predictor is a known solver; a step by hand; what training gains."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.nfe import Ledger
from bench.registry import create
from bench.sampling import Teacher
from bench.suites.mixture import Mixture
from methods.calibrated.amed import AMED, Predictor, features


def weights(raw: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> dict[str, Tensor]:
    """A predictor whose outputs do not depend on its input: the sigmoids of three numbers."""
    state = {name: torch.zeros_like(value) for name, value in Predictor().state_dict().items()}
    return {**state, "outer.bias": torch.tensor(raw)}


@pytest.mark.parametrize("nfe", [2, 4, 8])
def test_untrained_it_is_the_geometric_midpoint_rule(nfe: int) -> None:
    teacher = Teacher.load(Mixture(), dtype=torch.float64)
    found, ledger = teacher.generate(AMED(), nfe, 0, range(6), weights())
    problem = teacher.problem(0, range(6), Ledger())
    grid = problem.grid("karras[end=sigma_min]", nfe // 2)
    plain = create("method", "dpm_solver[order=2]").integrate(problem.denoise, problem.x, grid, problem.noise)
    assert ledger.nfe == nfe
    torch.testing.assert_close(found, plain)


def test_a_step_by_hand() -> None:
    """D = x / (1 + sigma): r = 0.2, c = 1.03, a = 0.9."""
    logit = lambda p: math.log(p / (1 - p))  # noqa: E731
    predictor = Predictor()
    predictor.load_state_dict(weights((logit(0.2), logit(0.8), logit(0.25))))
    x = torch.tensor([[2.0, -1.0]], dtype=torch.float64)
    denoise = lambda x, sigma: x / (1 + torch.as_tensor(sigma, dtype=x.dtype)).view(-1, 1)  # noqa: E731
    for afs in (False, True):
        found = AMED().step(denoise, predictor, x, (4.0, 1.0), afs)
        slope = x / math.sqrt(17) if afs else (x - x / 5) / 4
        middle = 4**0.8
        x_m = x + (middle - 4) * slope
        d = (x_m - x_m / (1 + 0.9 * middle)) / middle
        torch.testing.assert_close(found, x + 1.03 * (1 - 4) * d, rtol=1e-6, atol=1e-6)  # the predictor is float32


def test_the_denoiser_is_never_asked_above_the_step() -> None:
    asked = []

    def denoise(x: Tensor, sigma: float | Tensor) -> Tensor:
        asked.append(float(torch.as_tensor(sigma).detach().max()))
        return 0.5 * x

    predictor = Predictor()
    predictor.load_state_dict(weights((-20.0, 0.0, 20.0)))  # r = 0 and a = 1.2
    AMED().step(denoise, predictor, torch.ones(2, 3), (80.0, 1.0), True)
    assert asked == [80.0]


def test_features_by_hand() -> None:
    x, x0 = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]])
    found = features(x, x0, 2.0, 0.5)
    expected = [math.log(2), math.log(0.5), math.sqrt(12.5 / 5), math.sqrt(0.5), 0.5, 0.6]
    assert found[0].tolist() == pytest.approx(expected)
    assert features(x, None, 2.0, 0.5)[0].tolist() == pytest.approx([*expected[:3], 0, 0, 0])


def test_odd_budgets_save_the_first_evaluation() -> None:
    teacher = Teacher.load(Mixture(preset="gaussian"), dtype=torch.float64)
    problem = teacher.problem(0, range(2), ledger := Ledger(), weights())
    levels: list[float] = []

    def watched(x: Tensor, sigma: float | Tensor) -> Tensor:
        levels.append(float(torch.as_tensor(sigma).detach().reshape(-1)[0]))
        return problem.denoise(x, sigma)

    AMED().sample(replace(problem, denoise=watched), 3)
    nodes = problem.grid("karras[end=sigma_min]", 2).nodes
    expected = [math.sqrt(nodes[0] * nodes[1]), nodes[1], math.sqrt(nodes[1] * nodes[2])]
    assert ledger.nfe == 3 and levels == pytest.approx(expected)


@pytest.mark.parametrize("nfe", [3, 4])
def test_training_helps_on_noise_it_has_not_seen(task: Callable, error: Callable[..., float], nfe: int) -> None:
    method = AMED(images=128, passes=150)
    assert error(method, nfe, method.fit(task(), nfe)) < 0.8 * error(method, nfe, weights())


def test_the_fit_is_seeded_and_leaves_the_global_generator_alone(task: Callable) -> None:
    method = AMED(images=4, passes=2)
    torch.manual_seed(1)
    one = method.fit(task(seed=3), 2)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    other = method.fit(task(seed=3), 2)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_not_possible_is_said() -> None:
    teacher = Teacher.load(Mixture())
    with pytest.raises(Unsupported, match="ends above 0"):
        teacher.generate(AMED(grid="karras"), 2, 0, range(2), weights())
    with pytest.raises(Unsupported, match="--nfe 2"):
        teacher.generate(AMED(), 2, 0, range(2))
