"""Processes: inverses, closed forms, ends, and derivatives."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bench.process import EDM, VE, Process, RectifiedFlow, VPCosine, VPDiscrete, VPLinear

DDPM = VPDiscrete(tuple(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).tolist()))
SCALED = VPDiscrete(tuple((torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2).tolist()))
PROCESSES = {
    "vp_linear": VPLinear(),
    "vp_cosine": VPCosine(),
    "vp_discrete": DDPM,
    "vp_discrete scaled linear": SCALED,
    "ve": VE(),
    "edm": EDM(),
    "rectified_flow": RectifiedFlow(),
}
every = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def levels(process: Process, count: int = 200) -> Tensor:
    """Noise levels over all of a process's range, the piece below its first discrete level included."""
    return torch.logspace(-5, math.log10(process.sigma_max), count, dtype=torch.float64)


@every
def test_time_and_sigma_are_inverses(process: Process) -> None:
    sigma = levels(process)
    torch.testing.assert_close(process.sigma(process.time(sigma)), sigma, rtol=1e-8, atol=1e-12)


@every
def test_time_increases_with_sigma(process: Process) -> None:
    assert bool((process.time(levels(process)).diff() > 0).all())


@every
def test_the_clean_end_has_a_finite_time(process: Process) -> None:
    clean = process.time(double(0.0))
    assert bool(torch.isfinite(clean).all())
    assert float(process.sigma(clean)) == pytest.approx(0, abs=1e-8)  # the root of a rounding error
    assert float(process.alpha(clean)) == pytest.approx(1)


@every
def test_the_largest_sigma_is_finite_and_its_alpha_above_zero(process: Process) -> None:
    assert math.isfinite(process.sigma_max)
    assert float(process.alpha(process.time(double(process.sigma_max)))) > 0


@every
def test_derivatives_agree_with_differences(process: Process) -> None:
    sigma = levels(process, 60)
    t = process.time(sigma[sigma > 0.01][:-1])  # below, differences of an alpha near 1 are rounding
    if isinstance(process, VPDiscrete):
        t = t.floor() + 0.4  # log sigma has kinks at the integers
    if isinstance(process, VE | VPDiscrete):
        t = t[t > 0]
    step = 1e-5 * t.abs()
    ahead, behind = t + step, t - step
    d_alpha, d_noise = process.derivatives(t)
    alpha = process.alpha(ahead) - process.alpha(behind)
    noise = process.alpha(ahead) * process.sigma(ahead) - process.alpha(behind) * process.sigma(behind)
    torch.testing.assert_close(d_alpha, alpha / (2 * step), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(d_noise, noise / (2 * step), rtol=1e-5, atol=1e-7)


@every
def test_derivatives_can_be_had_where_samples_are_made(process: Process) -> None:
    with torch.inference_mode():
        inside = process.derivatives(process.time(double(0.5, 2.0)))
    outside = process.derivatives(process.time(double(0.5, 2.0)))
    for found, expected in zip(inside, outside, strict=True):
        torch.testing.assert_close(found.clone(), expected)
        assert not found.requires_grad


@pytest.mark.parametrize("name", ["vp_linear", "vp_cosine", "vp_discrete", "vp_discrete scaled linear"])
def test_variance_is_preserved(name: str) -> None:
    process = PROCESSES[name]
    sigma = levels(process)
    alpha = process.alpha(process.time(sigma))
    torch.testing.assert_close(alpha**2 * (1 + sigma**2), torch.ones_like(sigma))


def test_linear_beta_integrates_to_log_alpha() -> None:
    # log alpha = -1/2 int beta, by quadrature
    process = VPLinear()
    t = torch.linspace(0, 0.7, 100_001, dtype=torch.float64)
    beta = 0.1 + (20 - 0.1) * t
    expected = torch.exp(-0.5 * torch.trapezoid(beta, t))
    assert float(process.alpha(t[-1])) == pytest.approx(float(expected), rel=1e-9)


def test_cosine_alpha_is_the_published_function() -> None:
    t = torch.linspace(0, 0.99, 50, dtype=torch.float64)
    f = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    torch.testing.assert_close(VPCosine().alpha(t) ** 2, f / f[0])
    torch.testing.assert_close(VPCosine().sigma(t) ** 2, f[0] / f - 1, rtol=1e-9, atol=1e-12)


def test_discrete_levels_at_integers_are_products_of_betas() -> None:
    alpha_bar = torch.cumprod(1 - torch.tensor(DDPM.betas, dtype=torch.float64), 0)
    t = torch.tensor([0, 1, 500, 999])
    torch.testing.assert_close(DDPM.sigma(t.double()) ** 2, (1 - alpha_bar[t]) / alpha_bar[t])
    torch.testing.assert_close(DDPM.time(((1 - alpha_bar[t]) / alpha_bar[t]).sqrt()), t.double())


def test_discrete_levels_between_integers_are_geometric_means() -> None:
    low, middle, high = DDPM.sigma(double(41, 41.5, 42))
    assert float(middle) == pytest.approx(float((low * high).sqrt()))


def test_discrete_times_begin_at_minus_one() -> None:
    first = DDPM.sigma(double(0.0))
    assert float(DDPM.time(double(0.0))) == -1
    assert float(DDPM.time(first / 2)) == pytest.approx(-0.5)
    assert float(DDPM.sigma(double(-0.25))) == pytest.approx(float(0.75 * first))


def test_zero_terminal_snr_starts_at_the_last_finite_level() -> None:
    # Lin et al. 2023 (arXiv 2305.08891), Algorithm 1: the last beta is 1
    root = torch.cumprod(1 - torch.tensor(SCALED.betas, dtype=torch.float64), 0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    alpha = torch.cat([root[:1] ** 2, root[1:] ** 2 / root[:-1] ** 2])
    process = VPDiscrete(tuple((1 - alpha).tolist()))
    assert process.betas[-1] == 1
    assert process.sigma_max == pytest.approx(float((1 / root[-2] ** 2 - 1).sqrt()), rel=1e-6)
    assert float(process.time(double(process.sigma_max))) == pytest.approx(998)
    assert float(process.sigma(double(998.0))) == pytest.approx(process.sigma_max)


def test_flow_levels() -> None:
    flow = RectifiedFlow()
    assert float(flow.sigma(double(0.5))) == 1
    assert float(flow.time(double(3.0))) == 0.75
    assert flow.sigma_max == pytest.approx(999)


def test_exploding_levels_are_geometric() -> None:
    low, middle, high = VE(0.01, 100).sigma(double(0, 0.5, 1))
    assert (float(low), float(middle), float(high)) == pytest.approx((0.01, 1, 100))


@given(st.sampled_from(sorted(PROCESSES)), st.floats(1e-4, 50))
def test_round_trip_of_any_level(name: str, sigma: float) -> None:
    process = PROCESSES[name]
    assert float(process.sigma(process.time(double(sigma)))) == pytest.approx(sigma, rel=1e-8)
