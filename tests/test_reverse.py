"""Reverse steps: exact for an isotropic Gaussian at any step and eta; bounds and clipping where they act."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.grids import Grid
from bench.process import EDM, VPLinear
from bench.reverse import Reverse, interpolate

STD, MEAN = 0.6, 0.2


def gaussian(x: Tensor, sigma: float) -> Tensor:
    return MEAN + STD**2 / (STD**2 + sigma**2) * (x - MEAN)


def posterior(x: Tensor, x0_hat: Tensor, sigma: float) -> Tensor:
    assert torch.equal(x0_hat, gaussian(x, sigma))
    return torch.tensor(STD**2 * sigma**2 / (STD**2 + sigma**2), dtype=torch.float64)


class Fixed:
    """Noise that is 1 at one draw and 0 at the others."""

    def __init__(self, shape: tuple[int, ...], at: int) -> None:
        self.shape, self.at, self.drawn = shape, at, 0

    def normal(self) -> Tensor:
        self.drawn += 1
        return torch.full(self.shape, float(self.drawn - 1 == self.at), dtype=torch.float64)


def grid(*nodes: float, process: object = None) -> Grid:
    return Grid(torch.tensor(nodes, dtype=torch.float64), process or EDM())


def run(step: Reverse, start: float, along: Grid, at: int = -1, denoise: object = gaussian) -> float:
    x = torch.full((1, 1), start, dtype=torch.float64)
    return float(step.run(denoise, x, along, Fixed((1, 1), at), posterior if denoise is gaussian else flat))


def flat(x: Tensor, x0_hat: Tensor, sigma: float) -> Tensor:
    return torch.full_like(x, 4.0)


@pytest.mark.parametrize("nodes", [(40.0, 1.0), (40.0, 3.0, 0.5), (5.0, 4.0, 0.9, 0.1)])
@pytest.mark.parametrize(("form", "eta"), [("ddpm", 1.0), ("ddim", 1.0), ("ddim", 0.4), ("ddim", 0.0)])
def test_marginals_of_a_gaussian_are_exact(nodes: tuple[float, ...], form: str, eta: float) -> None:
    step, along = Reverse(form, eta, 0.0, 0, 2.0), grid(*nodes)  # type: ignore[arg-type]
    middle = run(step, MEAN, along)
    assert middle == pytest.approx(MEAN, abs=1e-12)
    gains = [run(step, MEAN, along, at) - middle for at in range(len(nodes) - 1)]
    slope = run(step, MEAN + 1, along) - middle
    variance = slope**2 * (STD**2 + nodes[0] ** 2) + sum(gain**2 for gain in gains)
    assert variance == pytest.approx(STD**2 + nodes[-1] ** 2, rel=1e-10)
    if eta == 0:
        assert sum(gain**2 for gain in gains) > 0.01


def test_the_step_to_zero_draws_nothing_and_clips() -> None:
    noise = Fixed((1, 1), -1)
    x = torch.full((1, 1), 30.0, dtype=torch.float64)
    found = Reverse("ddpm", 1.0, 0.0, 0, 2.0).run(gaussian, x, grid(2.0, 0.0), noise, posterior)
    assert (float(found), noise.drawn) == (float(gaussian(x, 2.0)), 0)
    clipped = Reverse("ddpm", 1.0, 0.5, 0, 2.0).run(gaussian, x, grid(2.0, 0.0), noise, posterior)
    assert float(clipped) == 0.5
    below = Reverse("ddim", 1.0, 0.5, 0, 2.0).run(gaussian, -x, grid(2.0, 0.0), noise, posterior)
    assert float(below) == -0.5


@pytest.mark.parametrize("form", ["ddpm", "ddim"])
def test_bounded_data(form: str) -> None:
    """D = 3 is clipped to 1.5, C = 4 to 2.25; the noise in x comes from one or the other D."""
    three = lambda x, sigma: torch.full_like(x, 3.0)  # noqa: E731
    step = Reverse(form, 1.0, 1.5, 0, 2.0)  # type: ignore[arg-type]
    along, kept = grid(2.0, 1.0), 0.25
    mean = run(step, 7.0, along, denoise=three)
    assert mean == pytest.approx(1.5 + kept * (7.0 - (1.5 if form == "ddpm" else 3.0)))
    std = run(step, 7.0, along, 0, denoise=three) - mean
    assert std**2 == pytest.approx(1.0 * (1 - 0.25) + (1 - kept) ** 2 * 2.25)
    free = Reverse(form, 1.0, 0.0, 0, 2.0)  # type: ignore[arg-type]
    std = run(free, 7.0, along, 0, denoise=three) - run(free, 7.0, along, denoise=three)
    assert std**2 == pytest.approx(0.75 + 0.75**2 * 4)


def test_a_negative_covariance_counts_as_none() -> None:
    step = Reverse("ddpm", 1.0, 0.0, 0, 2.0)
    x = torch.zeros(1, 1, dtype=torch.float64)
    low = step.run(gaussian, x, grid(2.0, 1.0), Fixed((1, 1), 0), lambda *_: torch.tensor(-100.0))
    none = step.run(gaussian, x, grid(2.0, 1.0), Fixed((1, 1), 0), lambda *_: torch.tensor(0.0))
    assert torch.equal(low, none)


@pytest.mark.parametrize("process", [EDM(), VPLinear()])
@pytest.mark.parametrize(("nodes", "noisy"), [((9.0, 4.0, 2.0, 1.0, 0.0), 3), ((9.0, 4.0, 2.0, 1.0, 0.5), 4)])
@pytest.mark.parametrize("clip", [0, 1, 2, 9])
def test_noise_of_the_last_steps_is_clipped(clip: int, nodes: tuple[float, ...], noisy: int, process: object) -> None:
    along = grid(*nodes, process=process)
    free = Reverse("ddim", 1.0, 0.0, 0, 2.0)
    step = Reverse("ddim", 1.0, 0.0, clip, 3.0)
    for at in range(noisy):
        short = grid(*nodes[: at + 2], process=process)  # what the noise of this step becomes later is another matter
        gain = run(free, 0.3, short, at) - run(free, 0.3, short)
        done = run(step, 0.3, along, at) - run(step, 0.3, along)
        plain = run(free, 0.3, along, at) - run(free, 0.3, along)
        alpha = 1.0 if isinstance(process, EDM) else 1 / math.hypot(1, nodes[at + 1])
        ceiling = 3.0 * 2 / 255 * math.sqrt(math.pi / 2) / alpha
        expected = plain * (min(1.0, ceiling / gain) if at >= noisy - clip else 1.0)
        assert done == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_states_keep_their_dtype_and_covariances_may_differ_by_coordinate() -> None:
    x = torch.zeros(2, 3, dtype=torch.float32)
    noise = type("Ones", (), {"normal": staticmethod(lambda: torch.ones(2, 3))})()
    spread = torch.tensor([[0.0, 1.0, 4.0]], dtype=torch.float64)
    found = Reverse("ddim", 0.0, 0.0, 0, 2.0).run(
        lambda x, sigma: torch.zeros_like(x), x, grid(2.0, 1.0), noise, lambda *_: spread
    )
    assert found.dtype == torch.float32
    assert found.tolist() == [[0.0, 0.5, 1.0]] * 2


def test_interpolate() -> None:
    sigma = torch.tensor([8.0, 2.0, 1.0], dtype=torch.float64)
    values = torch.tensor([5.0, 3.0, -1.0])
    for at, expected in ((80.0, 5.0), (8.0, 5.0), (4.0, 4.0), (2.0, 3.0), (2**0.25, 0.0), (1.0, -1.0), (0.1, -1.0)):
        assert float(interpolate(sigma, values, at)) == pytest.approx(expected)
