"""A network of one's own: a Python file that makes it, its weights, and what it was trained to do.

``docs/my-own-network.md``. In a TOML file::

    suite = "network"
    module = "my_model.py:make_model"
    weights = "my_model.safetensors"
    trained_on = "edm"
    prediction = "x0"
    size = "3x32x32"
    classes = 10
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from pydantic import Field

from bench.errors import AssetError, UsageError
from bench.info import Info
from bench.pipelines.base import Pipeline, Settings
from bench.pipelines.content import sha256
from bench.pipelines.raw import Kind, PredictionName, ProcessName, RawNetwork, load_module, parse_reference
from bench.quoting import unquote
from bench.reference.statistics import Reference
from bench.suites._pipeline import PipelineSuite
from bench.suites._values import SpecList, Specs, Text, read_references

INFO = Info(
    summary="Your own torch.nn.Module, with the process it was trained on.",
    requires=("network",),
)


class Network(PipelineSuite):
    """Generate with a network of one's own.

    Attributes:
        module: ``path.py:function``; the function returns the ``torch.nn.Module``.
        weights: a safetensors file; empty if the function loads them.
        trained_on: the process: ``edm``, ``vp_linear``, ``vp_cosine``, ``ve``, ``flow`` or ``ddpm``.
        prediction: ``eps``, ``x0``, ``v``, ``velocity``, or ``edm`` for a network inside EDM's preconditioning.
        size: of one sample, such as ``3x32x32``.
        classes: the network is called with labels 0..classes-1, and ``classes`` for none.
        guidance_scale: 1 is without guidance, 0 without classes; other values need ``classes``.
        lowest, highest: noise levels that differ from the process's own.
        sigma_data, time_scale: see ``bench.pipelines.raw.Kind``.
        samples, batch_size, metrics, reference_files, solution_steps: as in the suite ``diffusers``.
    """

    module: Text
    weights: Text = ""
    trained_on: ProcessName
    prediction: PredictionName
    size: Text
    classes: int = Field(default=0, ge=0)
    guidance_scale: float = Field(default=1.0, ge=0)
    lowest: float | None = Field(default=None, gt=0)
    highest: float | None = Field(default=None, gt=0)
    sigma_data: float = Field(default=0.5, gt=0)
    time_scale: float = 1.0
    samples: int = Field(default=1000, ge=1)
    batch_size: int = Field(default=100, ge=1)
    metrics: SpecList = Specs(("rmse",))
    reference_files: Text = ""
    solution_steps: int = Field(default=100, ge=2)

    @property
    def batch(self) -> int:
        """Samples at once."""
        return self.batch_size

    @property
    def reference_steps(self) -> int:
        return self.solution_steps

    @property
    def kind(self) -> Kind:
        """What the network was trained to do.

        Raises:
            UsageError: the size is not understood.
        """
        parts = unquote(self.size).lower().split("x")
        if not all(part.isdecimal() and int(part) for part in parts):
            raise UsageError(f"size must be numbers with x between them, such as 3x32x32, not {unquote(self.size)}")
        return Kind(
            process=self.trained_on,
            prediction=self.prediction,
            shape=tuple(map(int, parts)),
            classes=self.classes,
            lowest=self.lowest,
            highest=self.highest,
            sigma_data=self.sigma_data,
            time_scale=self.time_scale,
        )

    def family(self) -> type[Pipeline]:
        return RawNetwork

    def open(self, device: torch.device, dtype: torch.dtype) -> Pipeline:
        module, decoder = load_module(unquote(self.module), unquote(self.weights))
        settings = Settings(guidance_scale=self.guidance_scale)
        return RawNetwork(module.to(device, dtype), self.kind, settings, decoder)

    def texts(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.classes))) or ("",)

    def content(self) -> str:
        path, _ = parse_reference(unquote(self.module))
        try:
            files = [sha256(file) for file in (path, *([Path(unquote(self.weights))] if self.weights else []))]
        except OSError as error:
            raise AssetError(f"a file of the network is missing: {error.filename}; check the path") from error
        parts = [
            *files,
            repr(self.kind),
            unquote(self.module).rpartition(":")[2],
            str(self.guidance_scale),
            str(self.solution_steps),
        ]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]

    def references(self) -> tuple[Reference, ...]:
        return read_references(self.reference_files)

    def verify(self) -> None:
        """The files are there and the declaration is possible; nothing is loaded."""
        self.content()
        self.kind.schedule()
        shape, (file, _) = self.kind.shape, parse_reference(unquote(self.module))
        pictures = len(shape) == 3 and shape[0] in (1, 3)
        if not pictures and "decode" not in file.read_text(encoding="utf-8", errors="replace"):
            raise UsageError(
                f"size={unquote(self.size)}: samples of shape {shape} are no pictures; define decode(samples) in "
                f"{file}, or write a size such as 3x32x32"
            )
        if not self.classes and self.guidance_scale != 1.0:
            raise UsageError("guidance leads away from the label for no class; say how many classes there are")
