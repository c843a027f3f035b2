"""Consistency models on a Gaussian teacher, whose consistency function is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from bench.api import Problem, Unsupported
from bench.process import EDM
from bench.rng import SampleNoise
from bench.sampling import make_solver
from methods.distillation.consistency import Consistency, follow, jump

Make = Callable[..., Any]
EPS = 0.002


class Solution(nn.Module):
    """The D whose f is the exact solution map of the Gaussian's probability-flow ODE down to EPS."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        level, spread = sigma.double(), self.network.spread
        gain = torch.sqrt((spread**2 + EPS**2) / (spread**2 + level**2))
        gain = (gain - EPS / level) / (1 - EPS / level)  # f = D + (eps / sigma) (x - D)
        mean = self.network.mean[label]
        return mean + gain[:, None].to(x) * (x - mean)


def test_f_is_the_identity_at_sigma_min_for_any_network() -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    f = jump(lambda state, sigma: torch.sin(state) + 7, EPS)
    torch.testing.assert_close(f(x, EPS), x, atol=1e-6, rtol=0)
    assert float((f(x, 1.0) - x).abs().max()) > 1


def test_c_skip_and_c_out_are_the_papers_up_to_epsilon() -> None:
    """From the EDM coefficients of D follow those of f; c_out is (sigma - eps) sd / sqrt(sigma^2 + sd^2), App. C."""
    sd = 0.5
    sigma = torch.tensor([0.002, 0.01, 0.5, 3.0, 80.0], dtype=torch.float64)
    skip, out = sd**2 / (sigma**2 + sd**2), sigma * sd / (sigma**2 + sd**2).sqrt()
    x = torch.ones(5, 1, dtype=torch.float64)
    with_skip = jump(lambda state, _: skip[:, None] * state, EPS)(x, sigma)[:, 0]
    with_out = jump(lambda state, _: skip[:, None] * state + out[:, None], EPS)(x, sigma)[:, 0] - with_skip
    torch.testing.assert_close(with_out, (sigma - EPS) * sd / (sigma**2 + sd**2).sqrt())
    assert float((with_skip - sd**2 / ((sigma - EPS) ** 2 + sd**2)).abs().max()) < 2 * EPS


def distance(toy: Make, task: Make, mode: Literal["cd", "ct"], count: int) -> float:
    """The loss of the exact solution map with ``count`` nodes."""
    job = task(toy())
    exact = Solution(job.student())
    nodes = job.grid("karras[end=sigma_min]", count - 1).sigma
    return float(Consistency(mode=mode, batch=4000).loss(job, nodes, exact, exact).mean().detach())


def test_the_exact_solution_map_has_a_distillation_loss_that_vanishes_with_more_nodes(toy: Make, task: Make) -> None:
    losses = [distance(toy, task, "cd", n) for n in (10, 20, 40, 80)]
    assert losses == sorted(losses, reverse=True)
    # Heun's local error is of third order: a step of half the length has an eighth of the error, or less
    assert losses[3] < losses[1] / 8


def test_training_has_a_bias_with_few_nodes_that_vanishes_with_more(toy: Make, task: Make) -> None:
    losses = [distance(toy, task, "ct", n) for n in (10, 40, 160)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 3 * distance(toy, task, "cd", 10)


def test_distillation_learns_the_solution_map(toy: Make, fitted: Make, sample: Make) -> None:
    suite = toy()
    method, artifact = fitted(suite, "consistency[steps=250,batch=64,rate=0.02,decay=0.9,target_decay=0]", 1)
    assert artifact.tensors()["power"].item() == pytest.approx(0.5, abs=0.02)  # the exact map is in the family
    samples, x, ledger = sample(suite, method, 1, artifact.tensors())
    mean = suite.network(torch.device("cpu"), torch.float32).mean[suite.label(range(16))]
    exact = mean + (x - mean) * 0.5 / math.sqrt(0.25 + 80**2)
    assert ledger.nfe == 1
    assert float((samples - exact).norm() / (exact - mean).norm()) < 0.2


def test_training_learns_it_without_the_teacher(toy: Make, fitted: Make) -> None:
    _, artifact = fitted(toy(), "consistency[mode=ct,steps=400,rate=0.02,decay=0.9,s0=20,s1=20]", 1)
    assert artifact.meta.name == "ct"
    assert artifact.tensors()["power"].item() == pytest.approx(0.5, abs=0.05)


def test_further_steps_return_to_the_levels_of_the_grid() -> None:
    """With D = 0 the state before each call is the new noise alone, scaled by sqrt(tau^2 - eps^2)."""
    seen: list[tuple[float, float]] = []

    def zero(x: Tensor, sigma: float | Tensor) -> Tensor:
        seen.append((float(sigma), float(x.std())))
        return torch.zeros_like(x)

    problem = Problem(
        denoise=zero,
        x=80.0 * torch.ones(5, 1000),
        noise=SampleNoise(("toy", 0, "method"), range(5), (1000,)),
        process=EDM(),
        sigma_min=EPS,
        sigma_max=80.0,
        artifact={"power": torch.zeros(())},
        student=lambda weights: zero,
        solver=make_solver,
    )
    Consistency().sample(problem, 3)
    assert [level for level, _ in seen] == pytest.approx(problem.grid("logsnr", 3).nodes[:-1])
    for level, spread in seen[1:]:
        assert spread == pytest.approx(math.sqrt(level**2 - EPS**2), rel=0.05)


def test_a_further_step_adds_the_noise_that_leads_from_sigma_min_to_its_level() -> None:
    """With D = 0, f(x, sigma) = (eps / sigma) x: two steps in closed form, eps large enough for its sign to show."""
    key, eps, tau = ("toy", 0, "method"), 1.0, 2.0
    z = [SampleNoise(key, range(3), (4,)) for _ in range(2)]
    problem = Problem(
        denoise=lambda x, sigma: torch.zeros_like(x),
        x=torch.ones(3, 4),
        noise=z[0],
        process=EDM(),
        sigma_min=eps,
        sigma_max=4.0,
        artifact={"any": torch.zeros(1)},
        student=lambda weights: lambda x, sigma: torch.zeros_like(x),
        solver=make_solver,
    )
    samples = Consistency(grid=f"user[sigmas=4/{tau}/0]").sample(problem, 2)
    expected = eps / tau * (eps / 4.0 + math.sqrt(tau**2 - eps**2) * z[1].normal())
    torch.testing.assert_close(samples, expected)


def test_levels_below_sigma_min_are_unsupported(toy: Make, sample: Make) -> None:
    method = Consistency(grid="user[sigmas=80/0.001/0]")
    with pytest.raises(Unsupported, match="below sigma_min"):
        sample(toy(), method, 2, {"power": torch.ones(())})


def test_one_artifact_serves_every_budget() -> None:
    assert {Consistency().artifact_name(nfe) for nfe in (1, 2, 7)} == {"cd"}
    assert {Consistency(mode="ct").artifact_name(nfe) for nfe in (1, 2, 7)} == {"ct"}


def test_the_schedules_of_training_are_the_papers() -> None:
    """App. C with s0 = 2, s1 = 150, mu0 = 0.9: 3 nodes at first since ceil(2 - 1) + 1 = 2, and 151 at the end."""
    method = Consistency(mode="ct", s0=2, s1=150, mu0=0.9, steps=10_000)
    assert method.schedule(0) == (2, pytest.approx(0.9))  # exp(2 log 0.9 / 2)
    assert method.schedule(9_999)[0] == 151
    assert method.schedule(5_000)[0] == math.ceil(math.sqrt((151**2 - 4) / 2 + 4) - 1) + 1
    counts = [method.schedule(k)[0] for k in range(0, 10_000, 100)]
    assert counts == sorted(counts)
    assert Consistency(nodes=18, target_decay=0.3).schedule(123) == (18, 0.3)


def test_the_target_follows_the_network() -> None:
    average, network = nn.Linear(2, 2), nn.Linear(2, 2)
    old, new = average.weight.detach().clone(), network.weight.detach().clone()
    follow(average, network, 0.75)
    torch.testing.assert_close(average.weight, 0.75 * old + 0.25 * new)
    follow(average, network, 0.0)
    assert torch.equal(average.weight, network.weight)


def test_no_gradient_flows_into_the_target(toy: Make, task: Make) -> None:
    job = task(toy())
    network, average = job.student(), job.student()
    nodes = job.grid("karras[end=sigma_min]", 17).sigma
    Consistency(batch=8).loss(job, nodes, network, average).mean().backward()
    assert network.power.grad is not None and average.power.grad is None
