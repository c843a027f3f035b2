"""Progressive distillation on teachers whose steps are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.api import Unsupported
from bench.distill import ddim, ddim_step
from bench.grids import make_grid
from methods.distillation.progressive import Progressive, two_step_target

Make = Callable[..., Any]


def value(loss: Tensor) -> float:
    return float(loss.detach())


def wavy(x: Tensor, sigma: float | Tensor) -> Tensor:
    """A denoiser without any structure to lean on."""
    return torch.sin(3 * x) + torch.as_tensor(sigma, dtype=x.dtype).view(-1, 1) * torch.cos(x)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("levels", [(1.0, 0.6, 0.3), (2.0, 0.5, 0.0), (0.03, 0.02, 0.01)])
def test_one_step_with_the_target_lands_where_two_steps_do(
    levels: tuple[float, float, float], dtype: torch.dtype, tolerance: float
) -> None:
    x = torch.randn(5, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
    s, m, e = (torch.full((5,), value, dtype=torch.float64) for value in levels)
    target = two_step_target(wavy, x, (s, m, e))
    torch.testing.assert_close(ddim_step(x, target, s, e), ddim(wavy, x, levels), atol=tolerance, rtol=tolerance)


def test_the_target_ending_at_zero_is_the_teachers_second_prediction() -> None:
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    s, m, e = (torch.full((5,), value, dtype=torch.float64) for value in (2.0, 0.5, 0.0))
    torch.testing.assert_close(two_step_target(wavy, x, (s, m, e)), wavy(ddim_step(x, wavy(x, s), s, m), m))


def test_the_loss_is_zero_where_the_teachers_ode_is_straight(toy: Make, task: Make) -> None:
    """All data in one point for each class: D is that point, and one step equals two."""
    job = task(toy("toy[spread=0]"))
    loss = Progressive().loss(job, job.grid("karras", 8).sigma, None, job.student())
    assert value(loss) < 1e-9


class TwoSteps(nn.Module):
    """The network that does in one step of a grid what the Gaussian teacher does in two, in closed form."""

    def __init__(self, network: Any, fine: Tensor) -> None:
        super().__init__()
        self.network, self.fine = network, fine

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        node = (self.fine[None] - sigma[:, None].double()).abs().argmin(1)
        s, m, e = (self.fine[node + i] for i in range(3))
        spread = self.network.spread
        first, second = (b / a + (1 - b / a) * spread**2 / (spread**2 + a**2) for a, b in ((s, m), (m, e)))
        gain = (first * second - e / s) / (1 - e / s)
        mean = self.network.mean[label]
        return mean + gain[:, None].to(x) * (x - mean)


def test_the_loss_is_zero_for_a_student_that_does_two_steps_and_not_for_the_teacher(toy: Make, task: Make) -> None:
    job = task(toy())
    fine = job.grid("karras", 8).sigma
    perfect = TwoSteps(job.student(), fine)
    assert value(Progressive().loss(job, fine, None, perfect)) < 1e-8
    assert value(Progressive().loss(job, fine, None, job.student())) > 1e-3
    point = toy("toy[spread=0]").student(torch.device("cpu"))
    assert value(Progressive().loss(job, fine, point, perfect)) > 1e-3  # another teacher, another target


def test_the_loss_weighs_a_node_by_its_truncated_snr(toy: Make, task: Make) -> None:
    """With D off by a constant, the loss is the mean weight times its square: nodes 4, 0.5 weigh 1 and 4."""

    class Off(nn.Module):
        def forward(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
            return teacher(x, sigma, label) + 1

    job = task(toy("toy[spread=0]"))
    teacher = job.student()
    fine = torch.tensor([4.0, 2.0, 0.5, 0.25, 0.0], dtype=torch.float64)
    losses = {round(value(Progressive(batch=1).loss(job, fine, None, Off()))) for _ in range(20)}
    assert losses == {1, 4}


def test_one_halving_learns_two_steps(toy: Make, fitted: Make, sample: Make) -> None:
    """At one step the student has one number to learn, and what the teacher's two steps do is known."""
    suite = toy()
    method, artifact = fitted(suite, "progressive[start=2,steps=150,rate=0.05,decay=0.9]", 1)
    samples, x, _ = sample(suite, method, 1, artifact.tensors())
    teacher = suite.bind(suite.network(torch.device("cpu"), torch.float32), suite.label(range(16)))
    one, two = (ddim(teacher, x, make_grid("karras", n, 0.002, 80.0, suite.process).nodes) for n in (1, 2))
    assert float((samples - two).norm()) < 0.05 * float((one - two).norm())


@pytest.mark.parametrize("nfe", [3, 5, 32, 64])
def test_a_budget_out_of_reach_is_unsupported_and_says_which_are_not(toy: Make, task: Make, nfe: int) -> None:
    with pytest.raises(Unsupported, match=r"nfe is one of 1, 2, 4, 8, 16$"):
        Progressive().fit(task(toy()), nfe)
    assert Progressive().artifact_name(nfe) == ""


def test_sampling_says_so_too(toy: Make, sample: Make) -> None:
    with pytest.raises(Unsupported, match="nfe is one of 1, 2, 4, 8, 16"):
        sample(toy(), Progressive(), 3, {})


def test_any_number_of_steps_can_be_halved_while_it_is_even(toy: Make, task: Make) -> None:
    with pytest.raises(Unsupported, match=r"nfe is one of 3, 6$"):
        Progressive(start=12).fit(task(toy()), 1)


@pytest.mark.parametrize("grid", ["karras", "logsnr", "time_uniform", "vp_quadratic"])
def test_grids_that_end_in_zero_are_nested(toy: Make, task: Make, grid: str) -> None:
    job = task(toy())
    for nfe in (1, 2, 4, 8):
        torch.testing.assert_close(job.grid(grid, 2 * nfe).sigma[::2], job.grid(grid, nfe).sigma)


def test_a_grid_that_is_not_nested_is_unsupported(toy: Make, task: Make) -> None:
    with pytest.raises(Unsupported, match="not nested"):
        Progressive(grid="karras[end=append]").fit(task(toy()), 16)


def test_without_an_artifact_sampling_says_how_to_make_one(toy: Make, sample: Make) -> None:
    with pytest.raises(Unsupported, match="bench fit"):
        sample(toy(), Progressive(), 2, {})


def test_each_budget_has_its_own_artifact_and_exact_count(toy: Make, fitted: Make, sample: Make) -> None:
    suite = toy()
    for nfe in (4, 2, 1):
        method, artifact = fitted(suite, "progressive[start=8,steps=2,batch=4]", nfe)
        assert artifact.meta.name == f"nfe{nfe}"
        assert sample(suite, method, nfe, artifact.tensors())[2].nfe == nfe
