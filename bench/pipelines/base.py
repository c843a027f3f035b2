"""What a pipeline of diffusers is to the harness: a teacher ``D(x, sigma)`` with encoders before and a decoder behind.

::

    prompts ── encode ──> Condition ─┐
    x, sigma ────────────────────────┴─ denoise (predict: the network itself) ──> x0_hat ── decode ──> pictures, clips

A family is one file in ``families/`` with one subclass of ``Pipeline`` per group of pipeline classes that are alike. It
uses the pipeline's own encoders, time, guidance and decoder; samplers are the registry's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.denoiser import Adapter, Prediction, per_sample
from bench.errors import UsageError
from bench.pipelines.schedule import Schedule, read_schedule
from bench.process import Process

Condition = dict[str, Tensor]
"""What prompts (or classes) become: named tensors, one row per prompt, (B, ...) each."""

Predict = Callable[[Tensor, Tensor, Condition], Tensor]
Guidance = Literal["cfg", "embedded", "none"]


@dataclass(frozen=True)
class Settings:
    """What the user chose; None stands for the pipeline's own default.

    Attributes:
        height, width: of the pictures, in pixels.
        frames: of a clip.
        frame_rate: of a clip, in frames per second, where the network is told.
        guidance_scale: of classifier-free guidance, or told to the network where guidance is embedded.
        negative_prompt: what guidance leads away from; None is the pipeline's own choice for none.
        max_sequence_length: tokens of the text encoder, where the pipeline lets one choose.
    """

    height: int | None = None
    width: int | None = None
    frames: int | None = None
    frame_rate: float | None = None
    guidance_scale: float | None = None
    negative_prompt: str | None = None
    max_sequence_length: int | None = None


class Pipeline(ABC):
    """One pipeline class of diffusers, or several alike, seen as a teacher.

    Class attributes:
        classes: the class names in ``model_index.json`` that it handles.
        guidance: ``cfg`` (two evaluations, against the null condition, at scales above 1), ``embedded`` (the network
            is told the scale), or ``none``.
        interpolates: whether scales below 1 lead towards the null condition; in most pipelines they mean no guidance.
        text: whether conditioning is text; otherwise prompts are class numbers, or nothing (``unconditional``).
        video: whether samples are clips.
        default_guidance: the scale of the pipeline's own ``__call__``.

    Args:
        pipe: a loaded ``DiffusionPipeline``.
        settings: what the user chose.

    Raises:
        UsageError: a component is missing, or a size is impossible.
    """

    classes: ClassVar[tuple[str, ...]]
    guidance: ClassVar[Guidance] = "cfg"
    interpolates: ClassVar[bool] = False
    text: ClassVar[bool] = True
    video: ClassVar[bool] = False
    default_guidance: ClassVar[float] = 1.0

    def __init__(self, pipe: Any, settings: Settings) -> None:
        self.pipe = pipe
        self.settings = settings

    @property
    @abstractmethod
    def denoiser(self) -> nn.Module:
        """The network that is evaluated at every step."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of one latent as the denoiser takes it, without the batch."""

    @abstractmethod
    def encode(self, prompts: Sequence[str]) -> Condition:
        """The pipeline's own encoding, one row per prompt, on the pipeline's device."""

    @abstractmethod
    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The network's raw output (B, ...).

        Args:
            x_t: (B, ...) in the teacher's own scale and in ``dtype``.
            t: (B,) the process's time, float32 or float64.
            condition: of the same B rows.
        """

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """(B, 3, H, W), or (B, F, 3, H, W) for clips, in [0, 1], float32: what the pipeline's own decoder makes."""

    @cached_property
    def schedule(self) -> Schedule:
        """Process, prediction and range, from the pipeline's scheduler."""
        return read_schedule(self.pipe.scheduler)

    @property
    def process(self) -> Process:
        """The teacher's own process."""
        return self.schedule.process

    @property
    def prediction(self) -> Prediction:
        """What the network's output means."""
        return self.schedule.prediction

    @property
    def scale(self) -> float:
        """The guidance scale in use: the user's, or the pipeline's default."""
        chosen = self.settings.guidance_scale
        return self.default_guidance if chosen is None else chosen

    @property
    def is_told(self) -> bool:
        """Whether the network is told the guidance scale."""
        return self.guidance == "embedded"

    @property
    def weight(self) -> float:
        """w of ``D_u + w (D_c - D_u)``; 1, one evaluation, where the pipeline's own call would make only one."""
        two = self.guidance == "cfg" and not self.is_told and (self.scale > 1 or self.interpolates)
        return self.scale if two else 1.0

    @property
    def device(self) -> torch.device:
        """Where the network runs; with offloading that is not where its weights lie."""
        device: torch.device = self.pipe._execution_device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """What the network runs in."""
        dtype: torch.dtype = getattr(self.denoiser, "dtype", None) or next(self.denoiser.parameters()).dtype
        return dtype

    def default_prompts(self) -> tuple[str, ...]:
        """What to sample where the user gives no prompts: every class, or the one empty condition.

        Raises:
            UsageError: the pipeline needs texts.
        """
        if self.text:
            raise UsageError(f"{type(self.pipe).__name__} makes pictures from texts; name a file or set with prompts=")
        return ("",)

    def encode_null(self) -> Condition:
        """One row: the condition that guidance leads away from."""
        return self.encode([self.settings.negative_prompt or ""])

    def denoise(self, x: Tensor, sigma: float | Tensor, condition: Condition, predict: Predict | None = None) -> Tensor:
        """x0_hat (B, ...), shape and dtype of ``x = x0 + sigma eps``.

        Args:
            x: the state.
            sigma: one level for all, or (B,).
            condition: B rows.
            predict: stands in for ``self.predict``, such as the network run in parts.
        """
        network = self.predict if predict is None else predict
        precondition = self.schedule.precondition
        if precondition is None:
            adapter = Adapter(lambda x_t, t: network(x_t, t, condition), self.process, self.prediction, self.dtype)
            return adapter(x, sigma)
        level = per_sample(sigma, x)
        scaled, time = precondition.scale_in(x, level)
        told = time if x.dtype == torch.float64 else time.to(torch.float32)
        output = network(scaled.to(self.dtype), told, condition).to(x.dtype)
        return precondition.scale_out(output, x, level)


def component(pipe: Any, name: str) -> Any:
    """A component of a pipeline that a family cannot do without.

    Raises:
        UsageError: the folder has none.
    """
    found = getattr(pipe, name, None)
    if found is None:
        raise UsageError(f"{type(pipe).__name__} has no {name} here; the folder is not complete, download it again")
    return found


def pixels(chosen: int | None, default: int, factor: int, name: str) -> int:
    """A height or width in pixels that the network can make.

    Args:
        chosen: by the user; None takes the default.
        default: the pipeline's own.
        factor: what it must be a multiple of.
        name: ``"height"`` or ``"width"``, for the error.

    Raises:
        UsageError: it is not a positive multiple of the factor.
    """
    value = default if chosen is None else chosen
    if value <= 0 or value % factor:
        raise UsageError(f"{name} must be a positive multiple of {factor} for this pipeline, not {value}")
    return value
