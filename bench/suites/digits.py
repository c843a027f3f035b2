"""The default suite: the 8x8 handwritten digits that scikit-learn ships, class-conditional.

Teacher: an EDM-preconditioned U-Net (Karras et al. 2022, arXiv 2206.00364) trained on all 1,797 images with labels
dropped for guidance. Features: the penultimate layer of a small classifier of the same images (``digits-cnn``); Frechet
distances in it are called FD, never FID. The reference is all 1,797 images: the data set is the population.

Pixels are ``v / 8 - 1`` for the grey levels v = 0..16. Samples are clipped and rounded half to even to these levels
before they are judged, once; trajectories are compared before that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

import bench.ode
from bench.batch import Batch
from bench.denoiser import Denoiser, Guided
from bench.info import Info
from bench.process import EDM, Process
from bench.suites.base import Network, Suite

if TYPE_CHECKING:
    from bench.nets.classifier import DigitsCNN

INFO = Info(
    summary="8x8 handwritten digits, class-conditional; a 0.5 M parameter EDM U-Net; offline, on a laptop's CPU.",
    requires=("features", "network"),
)

ASSETS = Path(__file__).parent / "assets" / "digits"
CLASSES = 10
LEVELS = 16


@cache
def _data() -> tuple[Tensor, Tensor]:
    """All images (1797, 1, 8, 8) float32 in [-1, 1] and their labels (1797,) int64."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels.astype(np.float32)).view(-1, 1, 8, 8) / (LEVELS / 2) - 1
    return images, torch.from_numpy(labels.astype(np.int64))


@cache
def _classifier() -> DigitsCNN:
    from bench.nets.assets import load_classifier

    return load_classifier(ASSETS / "classifier.safetensors")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Digits(Suite):
    """Generate digits of a given class.

    Attributes:
        guidance_scale: classifier-free guidance; 1 is conditional only, and twice the network evaluations otherwise.
    """

    guidance_scale: float = Field(default=1.0, ge=0)

    sigma_min: ClassVar[float] = 0.002
    sigma_max: ClassVar[float] = 80.0
    process: ClassVar[Process] = EDM()
    samples: ClassVar[int] = 2000
    metrics: ClassVar[tuple[str, ...]] = (
        "fd",
        "kid",
        "inception_score",
        "precision",
        "recall",
        "density",
        "coverage",
        "class_accuracy",
        "rmse",
    )
    trainable: ClassVar[bool] = True

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, 8, 8)

    def revision(self) -> str:
        code = [Path(__file__), Path(bench.ode.__file__), *sorted((Path(__file__).parents[1] / "nets").glob("*.py"))]
        parts = [self.reference_id(), self.teacher_id(), self.feature_id(), *map(_sha256, code)]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]

    def teacher_id(self) -> str:
        """Content hash (16 hex digits) of the teacher's weights: what students and schedules are fitted to."""
        return _sha256(ASSETS / "teacher.safetensors")[:16]

    def feature_id(self) -> str:
        return f"digits-cnn@{_sha256(ASSETS / 'classifier.safetensors')[:8]}"

    def reference_id(self) -> str:
        images, labels = _data()
        return hashlib.sha256(images.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()[:8]

    def label(self, index: Sequence[int]) -> Tensor:
        return torch.tensor([i % CLASSES for i in index], dtype=torch.int64)

    def network(self, device: torch.device, dtype: torch.dtype) -> Network:
        return self.student(device).to(dtype)

    def student(self, device: torch.device) -> nn.Module:
        from bench.nets.assets import load_teacher

        return load_teacher(ASSETS / "teacher.safetensors").to(device)

    def bind(self, network: Network, label: Tensor) -> Denoiser:
        return Guided(network, label, null=CLASSES, guidance_scale=self.guidance_scale)

    def reference(self) -> Batch:
        images, labels = _data()
        return self.describe(images, labels)

    @torch.inference_mode()
    def describe(self, samples: Tensor, label: Tensor) -> Batch:
        images = samples.detach().to("cpu", torch.float32)
        quantised = ((images.clamp(-1, 1) + 1) * (LEVELS / 2)).round() / (LEVELS / 2) - 1
        features, logits = _classifier()(quantised)
        return Batch(quantised, label.cpu(), features, logits.softmax(dim=1), raw=images)

    def solve(self, denoise: Denoiser, x: Tensor) -> Tensor:
        """168 evaluations; root mean square error about 1e-3 (against 1,200 evaluations), data being in [-1, 1]."""

        def in_float32(x: Tensor, sigma: float | Tensor) -> Tensor:
            return denoise(x.float(), sigma)  # the network is float32, the extrapolation float64

        return bench.ode.solve(in_float32, x, self.sigma_max, scale=0.02, steps=14, columns=3).to(x.dtype)

    def shipped_solution(self, seed: int, samples: int) -> Tensor | None:
        from bench.weights import load_weights

        path = ASSETS / f"solution-seed{seed}.safetensors"
        if self.guidance_scale != 1.0 or not path.exists():
            return None
        state, record = load_weights(path)
        if record["teacher"] != self.teacher_id() or len(state["solution"]) < samples:
            return None
        return state["solution"][:samples]

    def images(self, samples: Tensor) -> Tensor | None:
        return ((samples.clamp(-1, 1) + 1) / 2).cpu()

    def fit_teacher(self, destination: Path, seed: int, progress: Callable[[int, int, str], None]) -> None:
        """Train the classifier and the teacher anew and write them, with their training records, to a folder."""
        from bench.nets.training import train_classifier, train_teacher
        from bench.weights import save_weights

        images, labels = _data()
        classifier = train_classifier(images, labels, seed=seed, progress=progress)
        save_weights(destination / "classifier.safetensors", *classifier)
        teacher = train_teacher(images, labels, seed=seed, progress=progress)
        save_weights(destination / "teacher.safetensors", *teacher)
