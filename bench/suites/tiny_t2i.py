"""Text-to-image at 16x16 that runs on a laptop: a small pipeline in diffusers' format, trained on CIFAR-10's classes.

Teacher: a conditional U-Net (v-prediction, Stable Diffusion's noise schedule) and a CLIP text encoder in pixel space,
trained by ``bench.tiny.text_to_image``. Judge: an open-clip model of its own (``tiny-clip``), trained by
``bench.tiny.tiny_clip`` with another seed and architecture. Its image embeddings, scaled to one length, are the
features; Frechet distances in them are called FD, never FID. Its similarities to the ten class captions are the class
probabilities.

The data are ``cifar10-jpeg-16``: CIFAR-10 from a mirror that stores JPEG files, averaged over 2x2 pixels. Weights and
the features of 5,000 training pictures are shipped, pictures are not. Nothing here compares with published CIFAR-10
figures. Samples are rounded half to even to 8 bits before they are judged, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from bench.batch import Batch
from bench.denoiser import Prediction
from bench.info import Info
from bench.pipelines.schedule import table_process
from bench.process import Process
from bench.suites._tiny import CLASSES, TinySuite, data_source
from bench.tiny import assets
from bench.tiny.captions import CIFAR_TEMPLATES, image_captions
from bench.tiny.cifar import SIZE, load
from bench.tiny.network import PixelNetwork, ReusableNetwork
from bench.tiny.schedules import alpha_bars

if TYPE_CHECKING:
    from bench.tiny.judge import Judge

INFO = Info(
    summary="Text-to-image at 16x16, pixel space; a 1.1 M parameter U-Net in diffusers' format; offline, on a CPU.",
    requires=("features", "network"),
)

ASSETS = Path(__file__).parent / "assets" / "tiny_t2i"
PROCESS = table_process(alpha_bars())


@cache
def judge() -> Judge:
    """The shipped open-clip model, loaded once per process."""
    from bench.tiny.judge import Judge

    return Judge.load(ASSETS / "clip")


def quantise(samples: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 on the CPU from [-1, 1], rounded half to even."""
    return ((samples.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def unit(embedding: Tensor) -> Tensor:
    """Embeddings (B, E) scaled to length sqrt(E): what CLIP was trained on is their direction."""
    return F.normalize(embedding, dim=-1) * math.sqrt(embedding.shape[1])


class TinyT2I(TinySuite):
    """Generate a picture of a caption.

    Attributes:
        guidance_scale: classifier-free guidance; 1 is conditional only, and twice the network evaluations otherwise.
    """

    guidance_scale: float = Field(default=2.0, ge=0)

    sigma_min: ClassVar[float] = float(PROCESS.sigma(torch.zeros((), dtype=torch.float64)))
    sigma_max: ClassVar[float] = PROCESS.sigma_max
    process: ClassVar[Process] = PROCESS
    samples: ClassVar[int] = 240
    batch: ClassVar[int] = 80
    metrics: ClassVar[tuple[str, ...]] = (
        "fd",
        "kid",
        "clip_score[model=suite]",
        "precision",
        "recall",
        "class_accuracy",
        "rmse",
    )

    folder: ClassVar[Path] = ASSETS
    captions: ClassVar[tuple[str, ...]] = image_captions()
    part: ClassVar[str] = "unet"
    prediction: ClassVar[Prediction] = "v"
    wrapper: ClassVar[type[PixelNetwork]] = ReusableNetwork
    default_guidance: ClassVar[float] = 2.0
    solution_steps: ClassVar[int] = 100
    packages: ClassVar[dict[str, str]] = {**TinySuite.packages, "open_clip": "metrics"}
    gives: ClassVar[frozenset[str]] = frozenset({"features", "images", "prompts"})

    @property
    def shape(self) -> tuple[int, ...]:
        return (3, SIZE, SIZE)

    def sources(self) -> tuple[str, ...]:
        return ("suites/tiny_t2i.py", "tiny/judge.py", "tiny/tiny_clip.py", "tiny/schedules.py")

    def feature_id(self) -> str:
        return f"tiny-clip@{assets.subset(self.record(), 'clip/')[:8]}"

    def reference(self) -> Batch:
        """The features of 5,000 training pictures; the pictures themselves are not shipped, so ``samples`` is empty."""
        stored = load_file(ASSETS / "reference.safetensors")
        embedding, label = stored["features"].float(), stored["label"].long()
        return Batch(torch.empty(len(label), 0), label, unit(embedding), judge().classes(embedding))

    def clip_embed_images(self, images: Tensor) -> Tensor:
        """(B, E) of length 1, from (B, 3, 16, 16) uint8."""
        return judge().embed_images(images)

    def clip_embed_texts(self, prompts: Sequence[str]) -> Tensor:
        """(B, E) of length 1."""
        return judge().embed_texts(tuple(prompts))

    def describe(self, samples: Tensor, label: Tensor) -> Batch:
        images, prompts = quantise(samples), self.prompts(label)
        embedding = judge().embed(images)
        return Batch(
            samples=images.float() / 127.5 - 1,
            label=label.cpu() % CLASSES,
            features=unit(embedding),
            probs=judge().classes(embedding),
            raw=samples.detach().cpu(),
            images=images,
            prompts=prompts,
            extracted={"clip": (F.normalize(embedding, dim=-1), judge().embed_texts(prompts))},
        )

    def decode(self, samples: Tensor) -> Tensor:
        """(B, 3, H, W) uint8: what a user gets to see; a stage of the latency table."""
        return quantise(samples)

    def images(self, samples: Tensor) -> Tensor | None:
        return ((samples.clamp(-1, 1) + 1) / 2).cpu()

    def training_data(self) -> tuple[Tensor, Tensor]:
        """CIFAR-10 at 16x16 with a caption each, from where ``BENCH_CIFAR10`` says.

        Raises:
            UsageError: it says nothing, or there is no such data.
        """
        found = load(data_source())
        wording = torch.arange(len(found.label)) % len(CIFAR_TEMPLATES)
        return found.scaled(), found.label + CLASSES * wording

    def fit_teacher(self, destination: Path, seed: int, progress: Callable[[int, int, str], None]) -> None:
        """Train judge and teacher anew from where ``BENCH_CIFAR10`` says, and write all files to a folder."""
        from bench.tiny.make import make_tiny_t2i

        make_tiny_t2i(load(data_source()), load(data_source(), "test"), destination, seed=seed, progress=progress)
