"""Reflow on pairs whose straight lines are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench import registry
from bench.api import Unsupported
from bench.distill import ddim
from bench.grids import make_grid
from bench.process import EDM, RectifiedFlow
from methods.distillation.reflow import NoNoise, Reflow, times

Make = Callable[..., Any]
SPREAD, SIGMA_MAX = 0.5, 80.0
A = SPREAD / math.sqrt(SPREAD**2 + SIGMA_MAX**2)  # the exact solution from sigma_max: x0 - m = A (X - m)


class Straight(nn.Module):
    """The D of the rectified flow of the exact pairs: x = x0 + sigma (X - x0) / sigma_max is linear in X - m."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        mean = self.network.mean[label]
        gain = A / (A + sigma.double() / SIGMA_MAX * (1 - A))
        return mean + gain[:, None].to(x) * (x - mean)


def exact_pair(job: Any, count: int) -> tuple[Any, Tensor]:
    """Noise, and the closed-form solution of the teacher's ODE from it."""
    batch = job.noise(count)
    zero = batch.bind(lambda x, sigma, label: job.student().mean[label])
    mean = zero(batch.x, 1.0)
    return batch, mean + A * (batch.x - mean)


def test_one_euler_step_of_a_straight_flow_returns_x0_and_more_steps_the_same(toy: Make, task: Make) -> None:
    job = task(toy())
    batch, x0 = exact_pair(job, 32)
    flow = batch.bind(Straight(job.student()))
    for nfe in (1, 2, 5):
        nodes = make_grid("flow_uniform", nfe, 0.002, SIGMA_MAX, EDM()).nodes
        torch.testing.assert_close(ddim(flow, batch.x, nodes), x0, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("density", ["uniform", "u_shaped"])
def test_the_regression_is_minimised_by_the_straight_flow(toy: Make, task: Make, density: str) -> None:
    job = task(toy())
    pair = exact_pair(job, 256)
    method = registry.create("method", f"reflow[density={density}]")
    best = float(method.flow_loss(job, pair, Straight(job.student())).detach())
    assert best < 1e-3  # float32 rounding over t^2
    assert float(method.flow_loss(job, pair, job.student()).detach()) > 100 * best


def test_the_loss_is_the_error_of_the_velocity(toy: Make, task: Make) -> None:
    """The same number from the definition in flow coordinates: x_t = (1 - t) x0 + t eps, v = eps - x0."""
    job, twin = task(toy(), 3), task(toy(), 3)
    (batch, x0), pair = exact_pair(job, 64), exact_pair(twin, 64)
    loss = float(Reflow(density="uniform").flow_loss(twin, pair, twin.student()).detach())

    t_min, t_max = 0.002 / 1.002, 80 / 81
    t = (t_min + (t_max - t_min) * times(64, "uniform", job.generator)).float()[:, None]
    eps = (batch.x - x0) / SIGMA_MAX
    x_t = (1 - t) * x0 + t * eps
    prediction = batch.denoise(x_t / (1 - t), (t / (1 - t))[:, 0])
    velocity = (x_t - prediction) / t
    assert loss == pytest.approx(float((velocity - (eps - x0)).square().mean()), rel=1e-3)


def test_euler_in_t_is_ddim_on_the_nodes(toy: Make, task: Make) -> None:
    """x_{t'} = x_t + (t' - t) v in flow coordinates, for a network of no structure."""

    def network(x: Tensor, sigma: float | Tensor) -> Tensor:
        return torch.tanh(x) * torch.cos(torch.as_tensor(sigma, dtype=x.dtype))

    x = 80.0 * torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    nodes = make_grid("flow_uniform", 4, 0.002, 80.0, EDM()).nodes
    x_t = x / 81
    for s, e in pairwise(nodes):
        t, u = s / (1 + s), e / (1 + e)
        x_t = x_t + (u - t) * (x_t - network(x_t / (1 - t), s)) / t
    torch.testing.assert_close(ddim(network, x, nodes), x_t)


def test_the_grid_is_uniform_in_the_flows_time() -> None:
    grid = make_grid("flow_uniform", 8, 0.002, 80.0, EDM())
    t = RectifiedFlow().time(grid.sigma)
    assert float(t[0]) == pytest.approx(80 / 81) and float(t[-1]) == 0
    torch.testing.assert_close(t[:-2].diff(), t[:2].diff().expand(6))


@pytest.mark.parametrize(
    "density, law",
    [
        ("uniform", lambda t: t),
        ("u_shaped", lambda t: (math.expm1(4 * t) + math.exp(4) - math.exp(4 * (1 - t))) / (2 * math.expm1(4))),
    ],
)
def test_times_follow_their_density(density: str, law: Callable[[float], float]) -> None:
    """Kolmogorov-Smirnov against the integral of the density, which is 1 over [0, 1]."""
    assert law(0) == pytest.approx(0) and law(1) == pytest.approx(1)
    t = times(20_000, density, torch.Generator().manual_seed(0)).sort().values
    expected = torch.tensor([law(float(value)) for value in t], dtype=torch.float64)
    ranks = torch.arange(1, len(t) + 1, dtype=torch.float64) / len(t)
    assert float((ranks - expected).abs().max()) < 1.63 / math.sqrt(len(t))  # 1 % level


def test_the_distilled_student_learns_the_endpoint(toy: Make, fitted: Make, sample: Make) -> None:
    suite = toy()
    spec = "reflow[steps=200,batch=32,pairs=256,rate=0.05,decay=0.9,solver=ddim,solver_nfe=64]"
    method, artifact = fitted(suite, spec, 1)
    samples, x, ledger = sample(suite, method, 1, artifact.tensors())
    mean = suite.network(torch.device("cpu"), torch.float32).mean[suite.label(range(16))]
    spread = float((samples - mean).std() / (A * (x - mean)).std())
    assert artifact.meta.name == "distilled" and ledger.nfe == 1
    teacher = (SPREAD / SIGMA_MAX) ** 2 / A  # what one step of the teacher leaves of the spread
    assert spread > 0.5 > 10 * teacher


def test_budgets_and_their_artifacts() -> None:
    assert [Reflow().artifact_name(nfe) for nfe in (1, 2, 8)] == ["distilled", "flow", "flow"]
    assert Reflow(distilled=False).artifact_name(1) == "flow"


def test_pairs_need_a_deterministic_solver(toy: Make, fitted: Make) -> None:
    with pytest.raises(Unsupported, match="deterministic"):
        NoNoise().normal()
    with pytest.raises(Unsupported, match="deterministic"):
        fitted(toy(), "reflow[solver=ddim[eta=1],solver_nfe=4,steps=1,pairs=4,batch=4]", 2)
