"""Score SDE's predictor-corrector sampler against moments of a Gaussian, quadrature and DDPM; the authors' code is in
parity.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.api import Unsupported
from bench.errors import UsageError
from bench.grids import Grid
from bench.process import EDM
from bench.registry import create
from methods.solvers.ddpm import DDPM
from methods.solvers.reverse_diffusion import ReverseDiffusion

Make = Callable[..., Grid]
MEAN, STD = 0.7, 0.6
PREDICTORS, SDES = ("reverse_diffusion", "ancestral"), ("ve", "vp")


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """The denoiser of N(MEAN, STD^2)."""
    return MEAN + STD**2 / (STD**2 + sigma**2) * (x - MEAN)


class Impulses:
    """The sampler is linear: rows 0 and 1 get no noise, row k + 1 only that of draw k, of size 1."""

    def __init__(self, x: Tensor) -> None:
        self.x, self.drawn = x, 0

    def normal(self) -> Tensor:
        self.drawn += 1
        out = torch.zeros_like(self.x)
        out[self.drawn + 1] = 1
        return out


class Given:
    """The draws it was given, then zeros."""

    def __init__(self, *values: Tensor) -> None:
        self.values, self.drawn = values, 0

    def normal(self) -> Tensor:
        self.drawn += 1
        last = self.values[-1]
        return self.values[self.drawn - 1] if self.drawn <= len(self.values) else torch.zeros_like(last)


class Normals:
    """Standard normal numbers from a generator of its own."""

    def __init__(self, x: Tensor) -> None:
        self.x, self.source = x, torch.Generator().manual_seed(3)

    def normal(self) -> Tensor:
        return torch.randn(self.x.shape, generator=self.source, dtype=self.x.dtype)


def moments(solver: ReverseDiffusion, grid: Grid, mean: float, var: float) -> tuple[float, float, int]:
    """Mean and variance of the result for a Gaussian start, exact, and the number of draws."""
    draws = (len(grid) - 1) * (1 + solver.corrector_steps)
    x = torch.full((draws + 2, 1), mean, dtype=torch.float64)
    x[1] += 1
    noise = Impulses(x)
    out = solver.integrate(gaussian, x, grid, noise)[:, 0]
    response = out[1:] - out[0]
    return float(out[0]), float(var * response[0] ** 2 + response[1:].square().sum()), noise.drawn


def predicted(predictor: str, sde: str, mean: float, var: float, high: float, low: float) -> tuple[float, float]:
    """Mean and variance after the predictor, in the variables of the paper: for ``vp``, those of ``y = a x``."""
    if sde == "ve":
        gap = high**2 - low**2
        factor = 1 - gap / (STD**2 + high**2)
        added = 0.0 if low == 0 else gap if predictor == "reverse_diffusion" else low**2 * gap / high**2
        return MEAN + factor * (mean - MEAN), factor**2 * var + added
    a, b = (1 / math.sqrt(1 + sigma**2) for sigma in (high, low))
    beta = 1 - a**2 / b**2
    inverse = 1 / (a**2 * (STD**2 + high**2))  # score of y: -(y - a MEAN) inverse
    if predictor == "reverse_diffusion":
        factor, pull = 2 - math.sqrt(1 - beta) - beta * inverse, beta * inverse * a * MEAN
    else:
        factor, pull = (1 - beta * inverse) / math.sqrt(1 - beta), beta * inverse * a * MEAN / math.sqrt(1 - beta)
    noise = beta if low else 0.0
    return (factor * a * mean + pull) / b, (factor**2 * a**2 * var + noise) / b**2


@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize("end", ["sigma_min", "zero"])
@pytest.mark.parametrize("m", [0, 1, 3])
def test_moments_of_a_gaussian_step_by_step(karras: Make, predictor: str, sde: str, end: str, m: int) -> None:
    snr = 0.3
    solver = ReverseDiffusion(predictor=predictor, sde=sde, corrector_steps=m, corrector="annealed", snr=snr)
    assert solver.declared_order is None
    for n in (1, 2, 5):
        grid, (mean, var) = karras(n, end), (1.3, 90.0)
        for high, low in grid.steps():
            keep = (1 + low**2) / (1 + high**2) if sde == "vp" else 1.0
            size = 2 * keep * snr**2 * high**2
            factor = 1 - size / (STD**2 + high**2)
            for _ in range(m):
                mean, var = MEAN + factor * (mean - MEAN), factor**2 * var + 2 * size
            mean, var = predicted(predictor, sde, mean, var, high, low)
        found = moments(solver, grid, 1.3, 90.0)
        assert found[:2] == pytest.approx((mean, var), rel=1e-9)
        assert found[2] == n * (m + 1) - (end == "zero")


@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("sde", SDES)
def test_variance_converges_with_slope_1(uneven: Make, predictor: str, sde: str) -> None:
    high, low = 5.0, 0.05
    solver = ReverseDiffusion(predictor=predictor, sde=sde, corrector_steps=0)
    errors = []
    for n in (128, 256, 512):
        _, var, _ = moments(solver, uneven(n, high, low), MEAN, STD**2 + high**2)
        errors.append(abs(var - STD**2 - low**2))
    assert math.log2(errors[0] / errors[2]) / 2 == pytest.approx(1, abs=0.15)
    assert errors[-1] < 0.02


@pytest.mark.parametrize(("sde", "variance"), [("ve", "small"), ("vp", "large")])
@pytest.mark.parametrize("end", ["sigma_min", "zero"])
def test_ancestral_is_ddpm(denoise, noise, karras: Make, sde: str, variance: str, end: str) -> None:
    grid, x = karras(6, end), 10 * noise()
    solver = ReverseDiffusion(predictor="ancestral", sde=sde, corrector_steps=0)
    theirs = DDPM(variance=variance).integrate(denoise, x, grid, Normals(x))
    torch.testing.assert_close(solver.integrate(denoise, x, grid, Normals(x)), theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("sde", "low"), [("ve", 1.0), ("ve", 0.0), ("vp", 1.0)])
def test_moments_of_one_langevin_step(sde: str, low: float) -> None:
    """One dimension, given D: ``x + 2 a snr^2 z^2 / s + 2 sqrt(a) snr z |z / s|``, averaged by Gauss and Hermite.

    E z^2 = 1, E z^4 = 3 and var z^2 = 2 give the mean ``2 a snr^2 / s`` and the variance ``(8 a^2 snr^4 + 12 a snr^2)
    / s^2``; then the predictor, without noise, carries both on.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    z, weight = torch.tensor(nodes)[:, None], torch.tensor(weights / weights.sum())
    high, snr, start, target = 2.0, 0.3, 1.5, 0.4
    grid = Grid(torch.tensor([high, low], dtype=torch.float64), EDM())
    x = torch.full_like(z, start)
    solver = ReverseDiffusion(sde=sde, predictor="ancestral", snr=snr)
    out = solver.integrate(lambda x, _: target + 0 * x, x, grid, Given(z))[:, 0]
    score = (target - start) / high**2
    alpha = (1 + low**2) / (1 + high**2) if sde == "vp" else 1.0
    r2 = (low / high) ** 2
    mean = target + r2 * (start - target + 2 * alpha * snr**2 / score)
    var = r2**2 * (8 * alpha**2 * snr**4 + 12 * alpha * snr**2) / score**2
    found = float((weight * out).sum())
    assert found == pytest.approx(mean, rel=1e-9)
    assert float((weight * (out - found) ** 2).sum()) == pytest.approx(var, rel=1e-9, abs=1e-15)


def test_drift_and_noise_of_a_langevin_step_are_in_the_ratio_of_the_snr(denoise, noise, karras: Make) -> None:
    grid, x = karras(1), 10 * noise()
    z = torch.randn(8, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    solver = ReverseDiffusion(snr=0.2)
    score = (denoise(x, 10.0) - x) / 100
    seen: list[Tensor] = []

    def noted(x: Tensor, sigma: float) -> Tensor:
        seen.append(x)
        return denoise(x, sigma)

    solver.integrate(noted, x, grid, Given(z))
    size = 2 * (0.2 * z.norm(dim=1) / score.norm(dim=1)) ** 2
    drift = size[:, None] * score
    torch.testing.assert_close(seen[1] - x - drift, (2 * size).sqrt()[:, None] * z, rtol=1e-12, atol=1e-12)
    ratio = drift.norm(dim=1) / (seen[1] - x - drift).norm(dim=1)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.2), rtol=1e-12, atol=0)


def test_norms_of_the_batch_are_means(denoise, noise, karras: Make) -> None:
    """Equal samples have the mean's norms, so both rules agree; others do not."""
    grid, x = karras(3), 10 * noise()
    same = x[:1].expand(8, 2).clone()
    one = [torch.randn(1, 2, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in range(6)]
    solvers = [ReverseDiffusion(norms=norms) for norms in ("sample", "batch")]
    equal = [solver.integrate(denoise, same, grid, Given(*(z.expand(8, 2) for z in one))) for solver in solvers]
    torch.testing.assert_close(*equal, rtol=1e-12, atol=1e-12)
    first, second = (solver.integrate(denoise, x, grid, Normals(x)) for solver in solvers)
    assert float((first - second).abs().max()) > 0.01


@pytest.mark.parametrize("norms", ["sample", "batch"])
def test_the_shape_of_a_sample_does_not_matter(karras: Make, norms: str) -> None:
    x = 10 * torch.randn(5, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    solver = ReverseDiffusion(norms=norms)
    flat = solver.integrate(gaussian, x, karras(4), Normals(x))
    image = x.view(5, 3, 2, 2)
    torch.testing.assert_close(solver.integrate(gaussian, image, karras(4), Normals(image)).view(5, 12), flat)


def test_batch_norms_by_hand(karras: Make) -> None:
    """Two samples in one dimension: the step is ``2 (snr mean|z| / mean|s|)^2`` for both."""
    x = torch.tensor([[4.0], [-1.0]], dtype=torch.float64)
    z = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    grid = Grid(torch.tensor([2.0, 0.0], dtype=torch.float64), EDM())
    seen: list[Tensor] = []

    def noted(x: Tensor, sigma: float) -> Tensor:
        seen.append(x)
        return torch.zeros_like(x)

    ReverseDiffusion(norms="batch").integrate(noted, x, grid, Given(z))
    size = 2 * (0.16 * 2.0 / ((4 + 1) / 4 / 2)) ** 2  # scores are -1 and 0.25
    torch.testing.assert_close(seen[1], x - size * x / 4 + math.sqrt(2 * size) * z, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("m", "works", "near"), [
    (0, (1, 2, 3), ""),
    (1, (2, 4, 10), "use nfe 2$"),
    (2, (3, 6, 21), "use nfe 3$"),
])  # fmt: skip
def test_budgets(m: int, works: tuple[int, ...], near: str) -> None:
    solver = ReverseDiffusion(corrector_steps=m)
    assert [solver.intervals(nfe) for nfe in works] == [nfe // (m + 1) for nfe in works]
    if m:
        with pytest.raises(Unsupported, match=near):
            solver.intervals(1)
        with pytest.raises(Unsupported, match=f"m = {m} of them; use nfe {3 * (m + 1)} or {4 * (m + 1)}$"):
            solver.intervals(3 * (m + 1) + 1)


def test_defaults_are_the_papers() -> None:
    assert ReverseDiffusion() == ReverseDiffusion(corrector_steps=1, snr=0.16, sde="ve", norms="sample")
    assert ReverseDiffusion().predictor == "reverse_diffusion"
    assert ReverseDiffusion().corrector == "langevin"


@pytest.mark.parametrize("spec", ["predictor=x", "sde=edm", "corrector_steps=-1", "snr=0", "norms=all", "corrector=x"])
def test_bad_parameters_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        create("method", f"reverse_diffusion[{spec}]")
