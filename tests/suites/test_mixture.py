"""The closed forms of the mixture suite against autograd, quadrature, sampling and scipy's integrator."""

import math

import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from bench import registry
from bench.errors import UsageError
from bench.gmm import GaussianMixture
from bench.nfe import Ledger
from bench.sampling import Teacher
from bench.suites.mixture import Mixture

PRESETS = ("gaussian", "mixture-2d", "mixture-64d")
every = pytest.mark.parametrize("preset", PRESETS)


def suite(preset: str, guidance_scale: float = 0.0) -> Mixture:
    found = registry.create("suite", f"mixture[preset={preset},guidance_scale={guidance_scale}]")
    assert isinstance(found, Mixture)
    return found


def states(gmm: GaussianMixture, count: int = 24) -> tuple[Tensor, Tensor]:
    """x (B, d) and sigma (B,), float64, from clean to nothing but noise."""
    source = torch.Generator().manual_seed(0)
    sigma = torch.tensor([0.0, 1e-3, 0.1, 0.7, 3.0, 80.0], dtype=torch.float64).repeat(count // 6)
    d = gmm.mean.shape[1]
    x0 = gmm.sample(torch.arange(count) % len(gmm.weight), torch.randn(count, d, generator=source).double())
    return x0 + sigma[:, None] * torch.randn(count, d, generator=source).double(), sigma


def uneven() -> GaussianMixture:
    """Components of different weights, which no preset has."""
    data = suite("mixture-2d").gmm
    return GaussianMixture(data.mean, data.std, torch.tensor([0.4, 0.05, 0.3, 0.05, 0.2], dtype=torch.float64))


def mixtures() -> list[GaussianMixture]:
    return [*(suite(preset).gmm for preset in PRESETS), uneven()]


@pytest.mark.parametrize("gmm", mixtures(), ids=[*PRESETS, "uneven"])
def test_density_is_torchs(gmm: GaussianMixture) -> None:
    x, sigma = states(gmm)
    for row, level in zip(x, sigma, strict=True):
        blurred = Independent(Normal(gmm.mean, (gmm.std**2 + level**2).sqrt()), 1)
        expected = MixtureSameFamily(Categorical(gmm.weight), blurred).log_prob(row)
        torch.testing.assert_close(gmm.log_density(row[None], float(level))[0], expected, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("gmm", mixtures(), ids=[*PRESETS, "uneven"])
def test_score_is_the_gradient_of_the_density(gmm: GaussianMixture) -> None:
    x, sigma = states(gmm)
    x.requires_grad_()
    (expected,) = torch.autograd.grad(gmm.log_density(x, sigma).sum(), x)
    torch.testing.assert_close(gmm.score(x.detach(), sigma), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("gmm", mixtures(), ids=[*PRESETS, "uneven"])
def test_denoiser_is_tweedies_formula(gmm: GaussianMixture) -> None:
    x, sigma = states(gmm)
    expected = x + sigma[:, None] ** 2 * gmm.score(x, sigma)
    torch.testing.assert_close(gmm.denoise(x, sigma), expected, rtol=1e-11, atol=1e-11)


def test_denoiser_is_the_posterior_mean_by_quadrature() -> None:
    gmm, x, sigma = uneven(), torch.tensor([0.4, -0.3]).double(), 0.6
    axis = torch.linspace(-5, 5, 401, dtype=torch.float64)
    x0 = torch.cartesian_prod(axis, axis)
    # the trapezoidal rule: its error for smooth functions that vanish at the ends is below rounding
    mass = (gmm.log_density(x0) - ((x - x0) ** 2).sum(1) / (2 * sigma**2)).exp()
    torch.testing.assert_close(gmm.denoise(x[None], sigma)[0], mass @ x0 / mass.sum(), rtol=1e-9, atol=1e-9)


def test_a_component_alone_is_a_gaussian() -> None:
    gmm = uneven()
    x, sigma = states(gmm)
    label = torch.arange(len(x)) % 5
    variance = gmm.std[label] ** 2 + sigma[:, None] ** 2
    expected = gmm.mean[label] + gmm.std[label] ** 2 / variance * (x - gmm.mean[label])
    torch.testing.assert_close(gmm.denoise(x, sigma, label), expected)
    density = Independent(Normal(gmm.mean[label], variance.sqrt()), 1).log_prob(x)
    torch.testing.assert_close(gmm.log_density(x, sigma, label), density)
    every = torch.full_like(label, 5)
    torch.testing.assert_close(gmm.denoise(x, sigma, every), gmm.denoise(x, sigma))


@every
def test_rows_of_different_levels_do_not_mix(preset: str) -> None:
    gmm = suite(preset).gmm
    x, sigma = states(gmm)
    together = gmm.denoise(x, sigma)
    alone = torch.cat([gmm.denoise(x[i : i + 1], float(sigma[i])) for i in range(len(x))])
    torch.testing.assert_close(together, alone, rtol=1e-13, atol=1e-13)


@every
def test_reference_samples_have_the_moments_and_the_labels(preset: str) -> None:
    data = suite(preset)
    reference = data.reference()
    mean, covariance = data.gmm.moments()
    n, samples = len(reference.samples), reference.samples.double()
    error = 5 * float(covariance.diagonal().max()) / math.sqrt(n)
    assert n >= 5000
    torch.testing.assert_close(samples.mean(0), mean, rtol=0, atol=error)
    torch.testing.assert_close(samples.T.cov(), covariance, rtol=0, atol=3 * error)
    assert reference.label is not None and reference.probs is not None
    assert len(set(reference.label.bincount().tolist())) == 1
    # each component's samples, whitened, are standard normal
    white = (samples - data.gmm.mean[reference.label]) / data.gmm.std[reference.label]
    assert float(white.var()) == pytest.approx(1, abs=5 * math.sqrt(2 / white.numel()))
    assert float((reference.probs.argmax(1) == reference.label).float().mean()) > 0.9


@every
def test_solution_agrees_with_scipy(preset: str) -> None:
    data = suite(preset)
    teacher = Teacher.load(data, dtype=torch.float64)
    index = range(12)
    x = teacher.initial(0, index)
    found = data.solve(teacher.denoiser(index, Ledger()), x)

    def slope(log_sigma: float, flat: Tensor) -> Tensor:
        # score form, in log sigma, down to a sigma where the rest is a quadratic
        state = torch.as_tensor(flat).view(x.shape)
        return (-math.exp(2 * log_sigma) * data.gmm.score(state, math.exp(log_sigma))).flatten()

    last = 1e-4
    span = (math.log(data.sigma_max), math.log(last))
    out = solve_ivp(slope, span, x.flatten().numpy(), method="DOP853", rtol=1e-12, atol=1e-13)
    end = torch.as_tensor(out.y[:, -1]).view(x.shape)
    expected = end + last**2 / 2 * data.gmm.score(end, 0.0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_the_integrator_agrees_with_the_closed_form_of_a_gaussian() -> None:
    from bench import ode

    data = suite("gaussian")
    teacher = Teacher.load(data, dtype=torch.float64)
    x = teacher.initial(0, range(50))
    denoise = teacher.denoiser(range(50), Ledger())
    integrated = ode.solve(denoise, x, data.sigma_max, float(data.gmm.std.min()), steps=24)
    torch.testing.assert_close(data.solve(denoise, x), integrated, rtol=0, atol=1e-11)


def test_solutions_are_distributed_as_the_data() -> None:
    data = suite("mixture-2d")
    teacher = Teacher.load(data, dtype=torch.float64)
    index = range(1000)
    found = data.solve(teacher.denoiser(index, Ledger()), teacher.initial(0, index))
    mean, covariance = data.gmm.moments()
    torch.testing.assert_close(found.mean(0), mean, rtol=0, atol=0.12)
    torch.testing.assert_close(found.T.cov(), covariance, rtol=0, atol=0.15)


def test_precision_of_the_state_is_kept() -> None:
    data = suite("gaussian")
    for dtype in (torch.float32, torch.float64):
        teacher = Teacher.load(data, dtype=dtype)
        x = teacher.initial(0, range(4))
        denoise = teacher.denoiser(range(4), Ledger())
        assert x.dtype == denoise(x, 1.0).dtype == data.solve(denoise, x).dtype == dtype


def test_a_half_precision_network_rounds() -> None:
    data = suite("mixture-2d")
    x, level, label = torch.randn(8, 2, generator=torch.Generator().manual_seed(1)), torch.ones(8), torch.full((8,), 5)
    exact = data.network(torch.device("cpu"), torch.float32)(x, level, label)
    rounded = data.network(torch.device("cpu"), torch.bfloat16)(x, level, label)
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, rounded.bfloat16().float())
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(("guidance_scale", "evaluations"), [(0.0, 1), (1.0, 1), (2.0, 2)])
def test_guidance_costs_what_it_costs(guidance_scale: float, evaluations: int) -> None:
    data = suite("mixture-2d", guidance_scale)
    teacher, ledger = Teacher.load(data), Ledger()
    index = range(10)
    x = teacher.initial(0, index)
    out = teacher.denoiser(index, ledger)(x, 2.0)
    assert (ledger.nfe, ledger.network_rows) == (1, 10 * evaluations)
    whole = data.gmm.denoise(x.double(), 2.0)
    own = data.gmm.denoise(x.double(), 2.0, data.label(index))
    torch.testing.assert_close(out.double(), whole + guidance_scale * (own - whole), rtol=1e-5, atol=1e-5)


def test_what_differs_has_another_name() -> None:
    suites = [suite("gaussian"), suite("mixture-2d"), suite("mixture-64d"), suite("mixture-2d", 2.0)]
    assert len({data.revision() for data in suites}) == 4
    assert len({data.reference_id() for data in suites}) == len({data.feature_id() for data in suites}) == 3
    assert suites[1].revision() == suite("mixture-2d").revision()


def test_unknown_presets_and_negative_guidance_are_refused() -> None:
    with pytest.raises(UsageError, match="preset: Input should be 'gaussian', 'mixture-2d' or 'mixture-64d'"):
        registry.create("suite", "mixture[preset=ring]")
    with pytest.raises(UsageError, match="guidance_scale"):
        registry.create("suite", "mixture[guidance_scale=-1]")


def test_there_is_no_network_to_distil() -> None:
    from bench.api import Unsupported

    with pytest.raises(Unsupported, match="closed form"):
        suite("mixture-2d").student(torch.device("cpu"))
