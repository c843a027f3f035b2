"""Bespoke solvers: the identity is the base solver, the gradient is the loss's, the bound bounds, and fitting helps."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.contract import Stage
from bench.flow import Flow, Path
from bench.grids import Grid
from bench.nfe import Ledger
from bench.process import EDM
from bench.scale_time import Node, Step, steps, transform
from bench.suites.mixture import mixture
from methods.calibrated.bespoke import Bespoke, loss
from methods.solvers.ddim import DDIM

SIGMA_MAX = 80.0
STAGES = {"rk1": 1, "rk2": 2, "rk3": 3}
every = pytest.mark.parametrize("base", STAGES)


def closed_form(x: Tensor, sigma: float | Tensor) -> Tensor:
    return mixture("mixture-2d").denoise(x, sigma)


@pytest.fixture(scope="module")
def flow() -> Flow:
    return Flow(closed_form, SIGMA_MAX)


@pytest.fixture(scope="module")
def x() -> Tensor:
    return SIGMA_MAX * torch.randn(6, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


@pytest.fixture(scope="module")
def path(flow: Flow, x: Tensor) -> Path:
    u = torch.linspace(1, 0, 401, dtype=torch.float64)
    return Path.solve(flow, x, SIGMA_MAX * u**3)


def run(flow: Flow, raw: Tensor, stages: int, y: Tensor) -> Tensor:
    parts = {name: value.tolist() for name, value in transform(raw).items()}
    for step in steps(**parts, stages=stages):
        y = step(flow, y, flow.velocity(step.start.t, y))
    return y


@pytest.mark.parametrize("n", [1, 2, 5])
def test_identity_of_rk1_is_euler_in_flow_time(flow: Flow, x: Tensor, n: int) -> None:
    tau = flow.tau(torch.linspace(0, 1, n + 1, dtype=torch.float64))
    grid = Grid((1 - tau) / tau, EDM())
    euler = DDIM().integrate(closed_form, x, grid, None)  # type: ignore[arg-type]
    ours = run(flow, torch.zeros(4, n, dtype=torch.float64), 1, x * flow.tau(0.0))
    torch.testing.assert_close(ours, euler, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_identity_of_rk2_is_the_midpoint_rule(flow: Flow, x: Tensor, n: int) -> None:
    y, h = x * flow.tau(0.0), 1 / n
    for i in range(n):
        middle = y + h / 2 * flow.velocity(i * h, y)
        y = y + h * flow.velocity((i + 0.5) * h, middle)
    ours = run(flow, torch.zeros(4, 2 * n, dtype=torch.float64), 2, x * flow.tau(0.0))
    torch.testing.assert_close(ours, y, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n", [1, 2])
def test_identity_of_rk3_is_heuns_third_order_rule(flow: Flow, x: Tensor, n: int) -> None:
    y, h = x * flow.tau(0.0), 1 / n
    for i in range(n):
        first = flow.velocity(i * h, y)
        second = flow.velocity((i + 1 / 3) * h, y + h / 3 * first)
        third = flow.velocity((i + 2 / 3) * h, y + 2 * h / 3 * second)
        y = y + h * (first + 3 * third) / 4
    ours = run(flow, torch.zeros(4, 3 * n, dtype=torch.float64), 3, x * flow.tau(0.0))
    torch.testing.assert_close(ours, y, rtol=1e-10, atol=1e-10)


def test_bounds_by_hand() -> None:
    """h = 1/2, all nodes with |s'|/s + t' = 0.3/1.5 + 0.8 = 1, s_i / s_end = 1.5 / 2."""
    node = Node(0.1, 1.5, 0.8, -0.3)
    assert Step(0.5, (node,), 0.5, 2.0).bound == pytest.approx(0.75 * (1 + 0.5))
    assert Step(0.5, (node,) * 2, 0.5, 2.0).bound == pytest.approx(0.75 * (1 + 0.5 * 1.25))
    second = 1 + 0.5 / 3
    third = 1 + 0.5 * 2 / 3 * second
    assert Step(0.5, (node,) * 3, 0.5, 2.0).bound == pytest.approx(0.75 * (1 + 0.5 * (0.25 + 0.75 * third)))


@every
def test_any_smooth_transform_keeps_the_order(flow: Flow, x: Tensor, path: Path, base: str) -> None:
    # consistent parameters: t(r) = r + 0.1 r (1 - r), s(r) = exp(0.5 r) and their slopes, up to r = 0.9
    def end(n: int) -> Tensor:
        r = torch.linspace(0, 0.9, n * STAGES[base] + 1, dtype=torch.float64)
        t, s = r + 0.1 * r * (1 - r), (0.5 * r).exp()
        # steps() takes h = 1/n; rescaling r by 0.9 rescales the slopes
        dt, ds = 0.9 * (1.1 - 0.2 * r), 0.9 * 0.5 * s
        parts = {"t": t.tolist(), "s": s.tolist(), "dt": dt[:-1].tolist(), "ds": ds[:-1].tolist()}
        y = x * flow.tau(0.0)
        for step in steps(**parts, stages=STAGES[base]):
            y = step(flow, y, flow.velocity(step.start.t, y))
        return y

    ends = [end(n) for n in (16, 32, 64)]
    exact = path.at(torch.tensor(0.9 + 0.1 * 0.9 * 0.1, dtype=torch.float64))[0]
    torch.testing.assert_close(ends[2], exact, atol=0.05 if base == "rk1" else 2e-3, rtol=0)
    gaps = [float((a - b).square().mean().sqrt()) for a, b in pairwise(ends)]  # the path itself is of order 2 only
    assert math.log2(gaps[0] / gaps[1]) == pytest.approx(STAGES[base], abs=0.3)


@every
def test_gradient_is_that_of_the_loss(flow: Flow, path: Path, base: str) -> None:
    raw = 0.2 * torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    raw.requires_grad_()
    loss(raw, flow, path, STAGES[base]).backward()
    assert raw.grad is not None
    for i in range(raw.numel()):
        shift = torch.zeros(raw.numel(), dtype=torch.float64)
        shift[i] = 1e-5
        with torch.no_grad():
            ends = [loss(raw + sign * shift.view_as(raw), flow, path, STAGES[base]) for sign in (1, -1)]
        assert float(ends[0] - ends[1]) / 2e-5 == pytest.approx(float(raw.grad.flatten()[i]), rel=1e-4, abs=1e-6)


@every
def test_the_loss_bounds_the_error_where_the_field_does_not_stretch(base: str, x: Tensor) -> None:
    # data at a point: D is constant and u(t, y) = (D - y) / (1 - t) contracts, so L_u = 1 is generous
    point = Flow(lambda x, sigma: torch.full_like(x, 0.3) + 0 * sigma, SIGMA_MAX)
    exact = Path.solve(point, x, SIGMA_MAX * torch.linspace(1, 0, 101, dtype=torch.float64) ** 3)
    raw = 0.1 * torch.randn(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    end = run(point, raw, STAGES[base], x * point.tau(0.0))
    true = float((end - 0.3).square().mean(1).sqrt().mean())
    assert true <= float(loss(raw, point, exact, STAGES[base])) * (1 + 1e-9)


@every
def test_fitting_beats_the_base_solver(task: Callable, error: Callable, base: str) -> None:
    for nfe in (2, 4) if base != "rk3" else (3, 6):
        method = Bespoke(base=base, iterations=40, batches=2, path_steps=32)
        artifact = method.fit(task(), nfe)
        assert {name: len(value) for name, value in artifact.items()} == {
            "t": nfe + 1, "s": nfe + 1, "dt": nfe, "ds": nfe,
        }  # fmt: skip
        assert all(value.dtype == torch.float64 for value in artifact.values())
        assert artifact["t"][0] == 0 and artifact["t"][-1] == 1 and bool((artifact["t"].diff() > 0).all())
        start = Bespoke(base=base, iterations=0, path_steps=4).fit(task(), nfe)
        assert error(method, nfe, artifact) < (0.6 if base != "rk3" else 0.8) * error(method, nfe, start)


def test_one_evaluation(task: Callable, error: Callable) -> None:
    method = Bespoke(base="rk1", iterations=40, batches=2, path_steps=32)
    assert error(method, 1, method.fit(task(), 1)) < 0.5 * error(DDIM(), 1, {})


def test_an_odd_budget_of_rk2_asks_for_no_artifact() -> None:
    """Its record says which budgets there are, not that an artifact is missing."""
    assert [Bespoke().artifact_name(nfe) for nfe in (1, 2, 3)] == ["", "nfe2", ""]
    assert Bespoke(base="rk1").artifact_name(3) == "nfe3"
    assert [Bespoke(base="rk3").artifact_name(nfe) for nfe in (2, 3, 4)] == ["", "nfe3", ""]


def test_odd_budgets_of_rk2_are_refused(task: Callable) -> None:
    problem = Stage.default().teacher(False, torch.float32).problem(0, [0], Ledger())
    for call in (lambda: Bespoke().fit(task(), 3), lambda: Bespoke().sample(problem, 3)):
        with pytest.raises(Unsupported, match="use nfe 4"):
            call()
    with pytest.raises(Unsupported, match="3 evaluations per step; use nfe 6"):
        Bespoke(base="rk3").sample(problem, 4)
    with pytest.raises(Unsupported, match="bench fit"):
        Bespoke().sample(problem, 4)


def test_a_teacher_without_gradient_is_refused_not_misled(task: Callable) -> None:
    fitting = task()
    noise = fitting.noise

    def detached(count: int) -> object:
        batch = noise(count)
        inner = batch.denoise
        batch.denoise = lambda x, sigma: inner(x, torch.as_tensor(sigma).detach())
        return batch

    fitting.noise = detached
    with pytest.raises(Unsupported, match="gradient in sigma"):
        Bespoke(iterations=1).fit(fitting, 2)
    Bespoke(base="rk1", iterations=1, batches=1).fit(fitting, 2)
