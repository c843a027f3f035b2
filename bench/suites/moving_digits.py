"""Text-to-video that runs on a laptop: clips of 8 frames at 16x16 with one of scikit-learn's digits, which bounces.

Teacher: a small Wan transformer (rectified flow) and a CLIP text encoder in diffusers' format, in pixel space, trained
by ``bench.tiny.video``. Features: a 3-D convolutional network of our own (``moving-digits-cnn``),
trained by ``bench.tiny.motion`` to tell digit, path and clip; Frechet distances in it are called FD, never FVD. The
reference is 2,000 clips, drawn anew with a fixed seed at every start.

Samples have one channel in [-1, 1], black to white; clips have three equal ones. They are rounded half to even to 8
bits before they are judged, once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor

from bench.batch import Batch
from bench.denoiser import Prediction
from bench.info import Info
from bench.pipelines.schedule import ShiftedFlow
from bench.process import Process
from bench.suites._tiny import CLASSES, TinySuite
from bench.tiny import assets
from bench.tiny.captions import DIGIT_TEMPLATES, clip_captions
from bench.tiny.digit_clips import FPS, FRAMES, SIZE, draw_clips

if TYPE_CHECKING:
    from bench.tiny.motion import MotionCNN

INFO = Info(
    summary="Clips of bouncing digits, 8 frames at 16x16; a 0.6 M parameter Wan transformer; offline, on a CPU.",
    requires=("features", "network"),
)

ASSETS = Path(__file__).parent / "assets" / "moving_digits"
PROCESS = ShiftedFlow()
REFERENCE = 2000  # clips
REFERENCE_SEED = 7
TRAINING = 10_000  # clips that fitting may use
TRAINING_SEED = 8


@cache
def features_network() -> MotionCNN:
    """The shipped feature network, loaded once per process."""
    from bench.tiny.motion import load

    return load(ASSETS / "motion.safetensors")


@cache
def _clips(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """(count, 1, 8, 16, 16) and captions (count,) of the data; every wording equally often."""
    clips, digit, _ = draw_clips(count, Generator().manual_seed(seed))
    return clips, digit + CLASSES * (torch.arange(count) % len(DIGIT_TEMPLATES))


def quantise(samples: Tensor) -> Tensor:
    """(B, 8, 3, 16, 16) uint8 on the CPU from (B, 1, 8, 16, 16) in [-1, 1], rounded half to even."""
    grey = ((samples.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return grey.transpose(1, 2).expand(-1, -1, 3, -1, -1).contiguous()


class MovingDigits(TinySuite):
    """Generate a clip of a caption.

    Attributes:
        guidance_scale: classifier-free guidance; 1 is conditional only, and twice the network evaluations otherwise.
    """

    guidance_scale: float = Field(default=3.0, ge=0)

    sigma_min: ClassVar[float] = 0.01
    sigma_max: ClassVar[float] = PROCESS.sigma_max
    process: ClassVar[Process] = PROCESS
    samples: ClassVar[int] = 240
    batch: ClassVar[int] = 80
    metrics: ClassVar[tuple[str, ...]] = (
        "fd",
        "kid",
        "precision",
        "recall",
        "class_accuracy",
        "vbench[dimension=temporal_flickering]",
        "rmse",
    )
    fps: ClassVar[int] = FPS

    folder: ClassVar[Path] = ASSETS
    captions: ClassVar[tuple[str, ...]] = clip_captions()
    part: ClassVar[str] = "transformer"
    prediction: ClassVar[Prediction] = "velocity"
    time_scale: ClassVar[float] = 1000.0
    default_guidance: ClassVar[float] = 3.0
    solution_steps: ClassVar[int] = 100
    gives: ClassVar[frozenset[str]] = frozenset({"features", "clips", "prompts"})

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, FRAMES, SIZE, SIZE)

    def sources(self) -> tuple[str, ...]:
        return ("suites/moving_digits.py", "tiny/motion.py", "tiny/digit_clips.py")

    def feature_id(self) -> str:
        return f"moving-digits-cnn@{assets.subset(self.record(), 'motion.safetensors')[:8]}"

    def reference_id(self) -> str:
        """Content hash (8 hex digits) of the rule that draws the reference clips."""
        return assets.text_digest(f"{REFERENCE}|{REFERENCE_SEED}|{assets.digest(_RULE)}")[:8]

    def reference(self) -> Batch:
        return self.describe(*_clips(REFERENCE, REFERENCE_SEED))

    def training_data(self) -> tuple[Tensor, Tensor]:
        return _clips(TRAINING, TRAINING_SEED)

    @torch.inference_mode()
    def describe(self, samples: Tensor, label: Tensor) -> Batch:
        clips = quantise(samples)
        seen = clips[:, :, :1].transpose(1, 2).float() / 127.5 - 1
        features, logits = features_network()(seen)
        return Batch(
            samples=seen,
            label=label.cpu() % CLASSES,
            features=features,
            probs=logits.softmax(dim=1),
            raw=samples.detach().cpu(),
            clips=clips,
            prompts=self.prompts(label),
        )

    def decode(self, samples: Tensor) -> Tensor:
        """(B, 8, 3, H, W) uint8: what a user gets to see; a stage of the latency table."""
        return quantise(samples)

    def images(self, samples: Tensor) -> Tensor | None:
        """(B, 1, 32, 64): the eight frames of each clip in two rows."""
        frames = ((samples.clamp(-1, 1) + 1) / 2).cpu().view(-1, 2, FRAMES // 2, SIZE, SIZE)
        return frames.permute(0, 1, 3, 2, 4).reshape(-1, 1, 2 * SIZE, FRAMES // 2 * SIZE)

    def fit_teacher(self, destination: Path, seed: int, progress: Callable[[int, int, str], None]) -> None:
        """Train feature network and teacher anew and write all files to a folder."""
        from bench.tiny.make import make_moving_digits

        make_moving_digits(destination, seed=seed, progress=progress)


_RULE = Path(__file__).parents[1] / "tiny" / "digit_clips.py"
