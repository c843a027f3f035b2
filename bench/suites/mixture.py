"""Gaussian mixtures with a closed-form denoiser: order, exactness and parity are tested here, in seconds.

What is exact here: the teacher ``D(x, sigma)``, the samples and the density of the data. The reference solution of the
probability-flow ODE is a closed form for ``gaussian``, and integrated to 1e-9 (largest error over a batch, in units of
the data) for the others without guidance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench import ode
from bench.batch import Batch
from bench.denoiser import Denoiser, Guided
from bench.gmm import GaussianMixture
from bench.info import Info
from bench.process import EDM, Process
from bench.revision import revision
from bench.rng import generator
from bench.suites.base import Network, Suite

INFO = Info(summary="Gaussian mixtures with a closed-form denoiser, exact samples and an exact ODE solution.")

Preset = Literal["gaussian", "mixture-2d", "mixture-64d"]
REFERENCE_SAMPLES = 6000


def _tensor(rows: Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _gaussian() -> tuple[Tensor, Tensor]:
    """One anisotropic Gaussian in 4 dimensions."""
    return _tensor([[1.0, -0.5, 0.0, 0.25]]), _tensor([[0.2, 0.5, 1.0, 1.5]])


def _mixture_2d() -> tuple[Tensor, Tensor]:
    """Five components without a symmetry that could hide an error."""
    mean = _tensor([[1.1, 0.2], [0.1, 1.3], [-1.2, 0.5], [-0.6, -0.9], [0.8, -1.1]])
    return mean, _tensor([[0.35, 0.45], [0.50, 0.25], [0.25, 0.40], [0.45, 0.40], [0.40, 0.30]])


def _mixture_64d() -> tuple[Tensor, Tensor]:
    """Six components; integers modulo primes stand for random numbers, so that no generator defines the suite."""
    k, j = torch.arange(1, 7)[:, None], torch.arange(64)
    mean = ((k * (17 * j + 5) ** 2 + 31 * j) % 101).double() / 101
    std = ((k * (29 * j + 3) ** 2 + 7 * k) % 103).double() / 103
    return 0.5 * mean - 0.25, 0.3 + 0.4 * std


_COMPONENTS: dict[Preset, Callable[[], tuple[Tensor, Tensor]]] = {
    "gaussian": _gaussian,
    "mixture-2d": _mixture_2d,
    "mixture-64d": _mixture_64d,
}


@cache
def mixture(preset: Preset) -> GaussianMixture:
    """The data distribution of a preset, float64; components have equal weights, as labels have equal counts."""
    mean, std = _COMPONENTS[preset]()
    return GaussianMixture(mean, std, torch.full((len(mean),), 1 / len(mean), dtype=torch.float64))


@cache
def _reference(preset: Preset) -> tuple[Tensor, Tensor]:
    """Exact samples (N, d) float64 and their components (N,)."""
    gmm = mixture(preset)
    component = torch.arange(REFERENCE_SAMPLES) % len(gmm.weight)
    noise = torch.empty(REFERENCE_SAMPLES, gmm.mean.shape[1])
    noise.normal_(generator=generator("mixture", preset, "reference"))
    return gmm.sample(component, noise.double()), component


class Mixture(Suite):
    """Gaussian mixtures; the class of a sample is its component, and no class means the whole mixture.

    Attributes:
        preset: ``gaussian`` (4 dimensions), ``mixture-2d`` (5 components) or ``mixture-64d`` (6 components).
        guidance_scale: 0 samples the whole mixture, 1 the component of each sample's label; other values guide and
            cost two network evaluations per call.
    """

    sigma_min: ClassVar[float] = 0.002
    sigma_max: ClassVar[float] = 80.0
    process: ClassVar[Process] = EDM()
    samples: ClassVar[int] = 2000
    batch: ClassVar[int] = 1000
    metrics: ClassVar[tuple[str, ...]] = ("rmse", "sliced_wasserstein", "fd", "kid", "class_accuracy")

    preset: Preset = "mixture-2d"
    guidance_scale: float = Field(default=0.0, ge=0.0)

    @property
    def gmm(self) -> GaussianMixture:
        """The data distribution, float64: means, density, score."""
        return mixture(self.preset)

    @property
    def classes(self) -> int:
        """The number of components; also the label that stands for "no class"."""
        return len(self.gmm.weight)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.gmm.mean.shape[1],)

    def revision(self) -> str:
        return revision(Path(__file__), __name__, [self.preset, str(self.guidance_scale), self.reference_id()])

    def feature_id(self) -> str:
        numbers = torch.cat([self.gmm.mean, self.gmm.std]).numpy().tobytes()
        return f"raw-samples@{hashlib.sha256(numbers).hexdigest()[:8]}"

    def reference_id(self) -> str:
        samples, _ = _reference(self.preset)
        # rounded, so that the last bit of another machine's normal numbers does not make another reference
        return hashlib.sha256(samples.mul(2**16).round().to(torch.int64).numpy().tobytes()).hexdigest()[:8]

    def label(self, index: Sequence[int]) -> Tensor:
        return torch.as_tensor(list(index), dtype=torch.int64) % self.classes

    def network(self, device: torch.device, dtype: torch.dtype) -> Network:
        """The closed form, computed in float64; a half-precision ``dtype`` rounds what goes in and what comes out."""
        gmm = self.gmm.to(device, torch.float64)
        half = torch.finfo(dtype).bits < 32

        def posterior_mean(x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
            x0_hat = gmm.denoise((x.to(dtype) if half else x).double(), sigma, label)
            return (x0_hat.to(dtype) if half else x0_hat).to(x.dtype)

        return posterior_mean

    def bind(self, network: Network, label: Tensor) -> Denoiser:
        return Guided(network, label, self.classes, self.guidance_scale)

    def reference(self) -> Batch:
        samples, label = _reference(self.preset)
        return self.describe(samples, label)

    def describe(self, samples: Tensor, label: Tensor) -> Batch:
        """Samples as they are: no quantisation, the features are the samples, the classifier is the exact posterior."""
        features = samples.detach().cpu()
        probs = self.gmm.posterior(features.double()).float()
        return Batch(features, label.cpu(), features.float(), probs, raw=features)

    def solve(self, denoise: Denoiser, x: Tensor) -> Tensor:
        """Largest error 1e-9 in float64 without guidance; rounded to the dtype of x."""
        if self.preset == "gaussian":
            gmm = self.gmm.to(x.device, torch.float64)
            shrink = gmm.std / (gmm.std**2 + self.sigma_max**2).sqrt()
            return (gmm.mean + shrink * (x.double() - gmm.mean)).to(x.dtype)
        scale = float(self.gmm.std.min())
        return ode.solve(denoise, x, self.sigma_max, scale, steps=24).to(x.dtype)
