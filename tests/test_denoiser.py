"""One Gaussian mixture seen through every process and prediction type is one denoiser; guidance in closed form."""

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from bench.denoiser import Adapter, Guided, Prediction
from bench.nfe import Ledger
from bench.process import EDM, VE, Process, RectifiedFlow, VPCosine, VPDiscrete, VPLinear
from bench.suites.mixture import mixture

DDPM = VPDiscrete(tuple(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).tolist()))
SCALED = VPDiscrete(tuple((torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2).tolist()))
PROCESSES = {
    "vp_linear": VPLinear(),
    "vp_cosine": VPCosine(),
    "ddpm betas": DDPM,
    "scaled linear betas": SCALED,
    "ve": VE(),
    "edm": EDM(),
    "rectified_flow": RectifiedFlow(),
}
GMM = mixture("mixture-2d")
SIGMAS = (0.012, 0.05, 0.3, 0.777, 2.0, 9.3)


class Trained:
    """What a perfect network of a process and a prediction type returns, from the moments of ``x0`` and ``eps``.

    ``E[eps | x_t] = -s score`` and ``E[x0 | x_t]`` in the process's own coordinates, with no use of the adapter: time
    gives alpha and s by the process, the velocity's coefficients by differences.
    """

    def __init__(self, process: Process, prediction: Prediction) -> None:
        self.process = process
        self.prediction = prediction
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        self.seen.append((x_t, t))
        time = t.double()[:, None]
        alpha, s = self.process.alpha(time), self.process.alpha(time) * self.process.sigma(time)
        x = x_t.double() / alpha
        sigma = (s / alpha)[:, 0]
        x0, eps = GMM.denoise(x, sigma), -sigma[:, None] * GMM.score(x, sigma)
        if self.prediction == "x0":
            out = x0
        elif self.prediction == "eps":
            out = eps
        elif self.prediction == "v":
            out = (alpha * eps - s * x0) / (alpha**2 + s**2).sqrt()
        else:
            d_alpha, d_noise = self.slopes(time)
            out = d_alpha * x0 + d_noise * eps
        return out.to(x_t.dtype)

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """d alpha / dt and d s / dt in closed form, from ``d sigma/dt``."""
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        if isinstance(self.process, RectifiedFlow):
            return -torch.ones_like(t), torch.ones_like(t)
        d_sigma = slope_of_sigma(self.process, t)
        # variance preserving: alpha = (1 + sigma^2)^{-1/2}; otherwise alpha is 1
        d_alpha = -sigma * d_sigma * alpha**3 if isinstance(self.process, VPLinear | VPCosine | VPDiscrete) else 0 * t
        return d_alpha, d_alpha * sigma + alpha * d_sigma


def slope_of_sigma(process: Process, t: Tensor) -> Tensor:
    """``d sigma / dt`` by hand."""
    sigma = process.sigma(t)
    if isinstance(process, VPLinear):
        return (1 + sigma**2) * (process.beta_min + (process.beta_max - process.beta_min) * t) / (2 * sigma)
    if isinstance(process, VPCosine):
        rate = math.pi / 2 / (1 + process.s)
        u, first = rate * (t + process.s), math.cos(rate * process.s)
        return rate * first**2 * torch.sin(u) / torch.cos(u) ** 3 / sigma
    if isinstance(process, VPDiscrete):
        low = t.floor().clamp_min(0)
        inside = sigma * (process.sigma(low + 1) / process.sigma(low)).log()
        return torch.where(t < 0, process.sigma(torch.zeros_like(t)), inside)
    if isinstance(process, VE):
        return sigma * math.log(process.highest / process.lowest)
    return torch.ones_like(t)


def states(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """x (B, 2), sigma (B,) and the closed form D(x, sigma) (B, 2) float64."""
    source = torch.Generator().manual_seed(0)
    sigma = torch.tensor(SIGMAS, dtype=torch.float64).repeat_interleave(32)
    x0 = GMM.sample(torch.arange(len(sigma)) % 5, torch.randn(len(sigma), 2, generator=source).double())
    x = (x0 + sigma[:, None] * torch.randn(len(sigma), 2, generator=source).double()).to(dtype)
    return x, sigma, GMM.denoise(x.double(), sigma)


every = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
predictions = pytest.mark.parametrize("prediction", get_args(Prediction))


@every
@predictions
def test_one_denoiser_in_float64(process: Process, prediction: Prediction) -> None:
    x, sigma, expected = states(torch.float64)
    found = Adapter(Trained(process, prediction), process, prediction)(x, sigma)
    assert found.dtype == torch.float64
    # subtracting sigma eps from x rounds to 2^-53 of x
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * float(x.abs().max().clamp_min(1)))


@every
@predictions
def test_one_denoiser_in_float32(process: Process, prediction: Prediction) -> None:
    x, sigma, expected = states(torch.float32)
    found = Adapter(Trained(process, prediction), process, prediction)(x, sigma)
    assert found.dtype == torch.float32
    difference = (found.double() - expected).abs().amax(1)
    scale = x.double().abs().amax(1).clamp_min(1)  # float32 holds x to 6e-8 of its size
    assert float((difference / scale).max()) <= 1e-6


@every
@predictions
def test_one_level_for_all_and_in_inference_mode(process: Process, prediction: Prediction) -> None:
    x, _, _ = states(torch.float64)
    adapter = Adapter(Trained(process, prediction), process, prediction)
    with torch.inference_mode():
        found = adapter(x.clone(), 0.777)
    torch.testing.assert_close(found.clone(), GMM.denoise(x, 0.777), rtol=0, atol=1e-11)


def test_discrete_times_need_not_be_integers() -> None:
    network = Trained(DDPM, "eps")
    x, sigma, _ = states(torch.float64)
    Adapter(network, DDPM, "eps")(x, sigma)
    ((_, t),) = network.seen
    assert bool(((t - t.round()).abs() > 0.01).any())


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_times_are_never_held_in_half_precision(half: torch.dtype) -> None:
    network = Trained(DDPM, "eps")
    for state in (torch.float32, torch.float64):
        x, sigma, _ = states(state)
        found = Adapter(network, DDPM, "eps", dtype=half)(x, sigma)
        x_t, t = network.seen[-1]
        assert (x_t.dtype, t.dtype, found.dtype) == (half, state, state)
        torch.testing.assert_close(t.double(), DDPM.time(sigma), rtol=1e-6, atol=1e-5)


# guidance


def network(x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
    """A component's denoiser; the null label is the whole mixture's."""
    return GMM.denoise(x.double(), sigma, label).to(x.dtype)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("batched", [True, False])
def test_guidance_is_the_published_combination(weight: float, batched: bool) -> None:
    x, sigma, unconditional = states(torch.float64)
    label = torch.arange(len(x)) % 5
    guided = Guided(network, label, 5, weight, batched)
    variance = GMM.std[label] ** 2 + sigma[:, None] ** 2
    conditional = GMM.mean[label] + GMM.std[label] ** 2 / variance * (x - GMM.mean[label])
    torch.testing.assert_close(guided(x, sigma), unconditional + weight * (conditional - unconditional))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batched_and_sequential_guidance_agree(dtype: torch.dtype) -> None:
    x, sigma, _ = states(dtype)
    label = torch.arange(len(x)) % 5
    batched, sequential = (Guided(network, label, 5, 2.5, way)(x, sigma) for way in (True, False))
    assert batched.dtype == dtype
    torch.testing.assert_close(batched, sequential)


@pytest.mark.parametrize(("weight", "forwards"), [(0.0, 1), (1.0, 1), (2.0, 2)])
@pytest.mark.parametrize("batched", [True, False])
def test_guidance_is_one_call_and_up_to_two_network_evaluations(weight: float, forwards: int, batched: bool) -> None:
    x, sigma, _ = states(torch.float32)
    ledger = Ledger()
    guided = ledger.denoiser(
        Guided(ledger.network(network), torch.zeros(len(x), dtype=torch.int64), 5, weight, batched)
    )
    guided(x, sigma)
    guided(x, 1.0)
    assert (ledger.nfe, ledger.rows, ledger.network_rows) == (2, 2 * len(x), 2 * forwards * len(x))
