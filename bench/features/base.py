"""What a feature network is, and how a batch meets it: once, whatever the number of metrics that ask.

An extractor is a declaration, cheap to make: its id needs neither the weights nor the package that runs them. ``load``
builds the network from files, so that tests can bring their own; ``network`` does it with the weights of this machine,
once per process and device.

Networks run in float32, without TF32, in pieces of ``CHUNK`` images: no number depends on the batch size of a run.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from bench.batch import Batch, Lacking
from bench.errors import UsageError
from bench.weightstore import lock
from bench.weightstore.store import entry, find

CHUNK = 32


class Network(nn.Module, ABC):
    """A feature network with its preprocessing; called with what ``prepare`` gives, on the network's device."""

    @abstractmethod
    def prepare(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) uint8 on the CPU, resized and scaled as the network wants them, on the CPU."""

    @abstractmethod
    def forward(self, prepared: Tensor) -> dict[str, Tensor]:
        """The extractor's ``outputs`` by name, each (B, d)."""


class Extractor(BaseModel):
    """A feature network by its declaration; fields are parameters (``inception[resize=legacy]``).

    Class attributes:
        outputs: names of what it finds in an image; the first one is the default.
        packages: the optional packages, by their modules, that ``load`` imports.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    outputs: ClassVar[tuple[str, ...]] = ("features",)
    packages: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """The architecture, such as ``"inception-v3-tf"``."""

    @property
    @abstractmethod
    def resolution(self) -> int:
        """Height and width that the network sees, after the extractor's own resize."""

    @property
    def width(self) -> int | None:
        """Numbers in its first output for an image or a clip; None if nobody knows them without the weights."""
        return None

    @abstractmethod
    def weights(self) -> tuple[str, ...]:
        """The entries of the weight manifest that ``load`` needs, in its order; the first one names the network."""

    @property
    @abstractmethod
    def preprocessing(self) -> str:
        """What is done to a uint8 image before the network, in a word such as ``"clean"``."""

    @property
    def id(self) -> str:
        """Network, hash of its weights and preprocessing, such as ``"inception-v3-tf@6726825d/clean"``."""
        return f"{self.name}@{weights_hash(self.weights())}/{self.preprocessing}"

    def problem(self) -> str:
        """Why it cannot run here, weights apart, and what to do; empty if it can. Nothing is imported."""
        return next((_absent(name, "metrics") for name in self.packages if not installed(name)), "")

    @abstractmethod
    def load(self, files: tuple[Path, ...]) -> Network:
        """The network, from the files of ``weights()``.

        Raises:
            UsageError: an optional package is missing.
            AssetError: the files do not hold the weights of this architecture.
        """


def weights_hash(names: tuple[str, ...]) -> str:
    """Eight hexadecimal digits that name some weights.

    From the manifest, or, where no public source states the hash, from the file that this machine has accepted;
    ``unknown`` if there is none. Several files are joined by ``-``.
    """
    return "-".join(_hash(name) for name in names)


def _hash(name: str) -> str:
    known = entry(name)
    locked = lock.read(known.file)
    return (known.prefix if len(known.prefix) >= 8 else locked.sha256 if locked else "unknown")[:8]


def installed(module: str) -> bool:
    """Whether there is such a module; it is not imported."""
    try:
        return find_spec(module) is not None
    except ValueError:  # it is loaded already, and nobody knows from where
        return True


def _absent(module: str, extra: str) -> str:
    package = module.partition(".")[0].replace("_", "-")
    return f"{package} is not installed; run pip install 'fewstep-bench[{extra}]'"


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package.

    Raises:
        UsageError: it is not installed; says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(_absent(module, extra)) from error


_device = torch.device("cpu")


def use_device(device: str | torch.device) -> None:
    """Where feature networks run from now on, in this process."""
    global _device
    _device = torch.device(device)


@lru_cache(maxsize=8)
def _network(extractor: Extractor, device: torch.device) -> Network:
    module = extractor.load(tuple(find(name) for name in extractor.weights()))
    return module.to(device).eval().requires_grad_(False)


def network(extractor: Extractor) -> Network:
    """The network with the weights of this machine, on the device in use.

    Raises:
        AssetError: weights are missing or not the right ones; says how to get them.
        UsageError: an optional package is missing.
    """
    return _network(extractor, _device)


@contextmanager
def exactly(device: torch.device) -> Iterator[None]:
    """Float32 as it is written: no TF32, no autocast of a caller, no choice of algorithm by timing."""
    cudnn = torch.backends.cudnn
    with (
        cudnn.flags(enabled=cudnn.enabled, benchmark=False, allow_tf32=False),  # unsaid, it would be off
        torch.autocast(device.type, enabled=False),
    ):
        yield


@torch.inference_mode()
def apply(module: Network, images: Tensor) -> dict[str, Tensor]:
    """What a network finds in images (B, 3, H, W) uint8: float32 tensors (B, ...) on the CPU.

    Raises:
        ValueError: these are not such images.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be (B, 3, H, W) uint8, not {tuple(images.shape)} {images.dtype}")
    device = next(module.parameters()).device
    parts: list[dict[str, Tensor]] = []
    with exactly(device):
        for start in range(0, len(images), CHUNK):
            found = module(module.prepare(images[start : start + CHUNK].cpu()).to(device))
            parts.append({key: value.float().cpu() for key, value in found.items()})
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def extract(extractor: Extractor, batch: Batch, output: str = "") -> Tensor:
    """(B, d) float32: what a network finds in the images of a batch, found once and kept in ``batch.extracted``.

    Args:
        extractor: the network.
        batch: with images.
        output: one of ``extractor.outputs``; the first one by default.

    Raises:
        Lacking: the batch has no images.
        AssetError, UsageError: as for ``network``.
    """
    if batch.images is None:
        raise Lacking(f"{extractor.name} needs images, which the suite does not give")
    if extractor.id not in batch.extracted:
        batch.extracted[extractor.id] = apply(network(extractor), batch.images)
    found: dict[str, Tensor] = batch.extracted[extractor.id]
    wanted: Tensor = found[output or extractor.outputs[0]]
    return wanted
