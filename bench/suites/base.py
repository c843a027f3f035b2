"""What a suite is: one declaration of a teacher, its conditioning, its reference data, its metrics."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from bench.api import Unsupported
from bench.batch import Batch
from bench.denoiser import Denoiser
from bench.process import Process
from bench.reference.statistics import Reference
from bench.weights import read_verified

Network = Callable[..., Tensor]  # (x (B, ...), sigma (B,), label (B,)) -> x0_hat (B, ...)


class Suite(BaseModel):
    """A suite; its fields are parameters (``digits[guidance_scale=2]``), its class attributes the declaration.

    Class attributes:
        sigma_min, sigma_max: range of noise levels, in units of the data.
        process: the teacher's own process.
        samples: default number of samples per cell.
        batch: default batch size.
        metrics: names of the default metrics; the first one ranks.
        trainable: whether students can be made from the teacher's network.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    if TYPE_CHECKING:  # class attributes of some suites, properties or parameters of others

        @property
        def sigma_min(self) -> float: ...

        @property
        def sigma_max(self) -> float: ...

        @property
        def process(self) -> Process: ...

        @property
        def samples(self) -> int: ...

        @property
        def batch(self) -> int: ...

        @property
        def metrics(self) -> tuple[str, ...]: ...

    else:
        batch: ClassVar[int] = 500
    trainable: ClassVar[bool] = False

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""

    @abstractmethod
    def revision(self) -> str:
        """A hash of all that determines the teacher, the reference and the features."""

    def teacher_id(self) -> str:
        """A hash of the teacher alone, which schedules and students are fitted to; the revision unless stated."""
        return self.revision()

    @abstractmethod
    def feature_id(self) -> str:
        """Name and content hash of the feature network, such as ``"digits-cnn@1a2b3c4d"``; empty if none."""

    @abstractmethod
    def reference_id(self) -> str:
        """Content hash (8 hex digits) of the reference data."""

    @abstractmethod
    def label(self, index: Sequence[int]) -> Tensor:
        """(B,) int64: the conditioning of the samples with these indices; equal counts per class."""

    @abstractmethod
    def network(self, device: torch.device, dtype: torch.dtype) -> Network:
        """The teacher's network, which predicts x0; loaded anew at every call."""

    @abstractmethod
    def bind(self, network: Network, label: Tensor) -> Denoiser:
        """Conditioning and guidance bound into a network."""

    @abstractmethod
    def reference(self) -> Batch:
        """The reference data, all of it, with features."""

    def references(self) -> tuple[Reference, ...]:
        """Files of reference statistics, for metrics with a network of their own.

        Raises:
            AssetError: a file is missing or damaged.
        """
        return ()

    @abstractmethod
    def describe(self, samples: Tensor, label: Tensor) -> Batch:
        """Generated samples (B, ...) as metrics see them: quantised as the suite states, with features."""

    @abstractmethod
    def solve(self, denoise: Denoiser, x: Tensor) -> Tensor:
        """The reference solution of the probability-flow ODE from ``x`` at ``sigma_max``, to a stated accuracy."""

    def images(self, samples: Tensor) -> Tensor | None:
        """(B, C, H, W) in [0, 1] for sample grids, or None if samples are not pictures."""
        return None

    def student(self, device: torch.device) -> nn.Module:
        """A trainable copy of the teacher's network.

        Raises:
            Unsupported: the teacher is not a trainable network.
        """
        raise Unsupported("the teacher of this suite is a closed form; there is no network to distil")

    def training_data(self) -> tuple[Tensor, Tensor]:
        """``(x0 (N, ...), label (N,))`` that fitting may use."""
        reference = self.reference()
        assert reference.label is not None
        return reference.samples, reference.label

    def fit_teacher(self, destination: Path, seed: int, progress: Callable[[int, int, str], None]) -> None:
        """Train the teacher anew and write it, with its training record, to a folder.

        Raises:
            Unsupported: the teacher is not trained.
        """
        raise Unsupported("the teacher of this suite is a closed form; there is nothing to train")

    def shipped_solution(self, seed: int, samples: int) -> Tensor | None:
        """``solve`` of samples 0..samples-1 if the suite ships it, (samples, ...); None where it must be computed."""
        return None

    def verify(self) -> None:
        """Check the weights in ``assets/<name>`` beside the suite's file; called before a run starts.

        Raises:
            AssetError: a file is missing its JSON, or is truncated or tampered with.
        """
        source = Path(inspect.getfile(type(self)))
        for path in sorted((source.parent / "assets" / source.stem).glob("*.safetensors")):
            read_verified(path)
