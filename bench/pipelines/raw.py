"""A network of one's own as a pipeline: no encoders, classes or nothing as conditioning, pixels or a decoder."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.denoiser import Prediction
from bench.errors import AssetError, UsageError
from bench.pipelines.base import Condition, Pipeline, Settings
from bench.pipelines.classes import class_numbers, every_class
from bench.pipelines.repository import first_line
from bench.pipelines.schedule import Precondition, Schedule, ShiftedFlow, Tabled
from bench.pipelines.unet import to_pictures
from bench.process import EDM, VE, Process, VPCosine, VPLinear

ProcessName = Literal["edm", "vp_linear", "vp_cosine", "ve", "flow", "ddpm"]
PredictionName = Literal["eps", "x0", "v", "velocity", "edm"]


@dataclass(frozen=True)
class Kind:
    """What a network of one's own was trained to do.

    Attributes:
        process: ``edm``, ``vp_linear``, ``vp_cosine``, ``ve``, ``flow``, or ``ddpm`` (1000 betas from 1e-4 to 0.02).
        prediction: ``eps``, ``x0``, ``v``, ``velocity``, or ``edm`` for a network inside EDM's preconditioning.
        shape: of one sample.
        classes: how many; the label of that number is "no class". 0: the network is called without labels.
        lowest, highest: noise levels that differ from the process's own.
        sigma_data: of EDM's preconditioning.
        time_scale: the network is told ``time_scale`` times the process's time.
    """

    process: ProcessName
    prediction: PredictionName
    shape: tuple[int, ...]
    classes: int = 0
    lowest: float | None = None
    highest: float | None = None
    sigma_data: float = 0.5
    time_scale: float = 1.0

    def schedule(self) -> Schedule:
        """Process, prediction and range.

        Raises:
            UsageError: the smallest level is not below the largest, or the largest cannot be chosen.
        """
        process, lowest = _process(self.process, self.lowest, self.highest)
        if lowest >= process.sigma_max:
            raise UsageError(f"lowest must be below the largest noise level, {process.sigma_max:g}, not {lowest:g}")
        precondition = Precondition(self.sigma_data) if self.prediction == "edm" else None
        prediction: Prediction = "x0" if self.prediction == "edm" else self.prediction
        return Schedule(process, prediction, lowest, precondition)


def _process(name: ProcessName, lowest: float | None, highest: float | None) -> tuple[Process, float]:
    """A process and the smallest noise level: the user's, or its usual one.

    Raises:
        UsageError: the process has its own largest level, which cannot be chosen.
    """
    if name == "edm":
        return EDM(highest or 80.0), lowest or 0.002
    if name == "ve":  # its time runs from the lowest to the highest level
        return VE(lowest or 0.01, highest or 50.0), lowest or 0.01
    if highest is not None:
        raise UsageError(f"the process {name} has a largest noise level of its own; leave highest out")
    known: dict[str, Callable[[], Process]] = {
        "vp_linear": VPLinear,
        "vp_cosine": VPCosine,
        "flow": ShiftedFlow,
        "ddpm": lambda: Tabled(tuple(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).tolist())),
    }
    process = known[name]()
    first = 0.0 if name == "ddpm" else 1e-3
    return process, lowest or float(process.sigma(torch.tensor(first, dtype=torch.float64)))


class RawNetwork(Pipeline):
    """A ``torch.nn.Module`` called as ``module(x_t, t)``, or ``module(x_t, t, label)`` where there are classes.

    Args:
        module: in evaluation mode, on its device and in its dtype.
        kind: what it was trained to do.
        settings: of which only the guidance scale applies.
        decoder: from samples to pictures in [0, 1]; pixels in [-1, 1] need none.
    """

    classes = ()
    text = False
    interpolates = True

    def __init__(
        self, module: nn.Module, kind: Kind, settings: Settings, decoder: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__(SimpleNamespace(_execution_device=_device(module)), settings)
        self.module = module
        self.kind = kind
        self.decoder = decoder
        self.schedule = kind.schedule()

    @property
    def denoiser(self) -> nn.Module:
        return self.module

    @property
    def dtype(self) -> torch.dtype:
        return next((weight.dtype for weight in self.module.parameters()), torch.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.kind.shape

    def default_prompts(self) -> tuple[str, ...]:
        return every_class(self.kind.classes)

    def encode(self, prompts: Sequence[str]) -> Condition:
        return {"class": class_numbers(prompts, self.kind.classes, {}).to(self.device)}

    def encode_null(self) -> Condition:
        return {"class": torch.tensor([self.kind.classes], device=self.device)}

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        time = self.kind.time_scale * t
        out: Tensor = self.module(x_t, time, condition["class"]) if self.kind.classes else self.module(x_t, time)
        return out

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        if self.decoder is not None:
            return self.decoder(latents).float().clamp(0, 1)
        if len(self.kind.shape) != 3 or self.kind.shape[0] not in (1, 3):
            raise UsageError(
                f"samples of shape {self.kind.shape} are no pictures; define decode(samples) beside the model"
            )
        return to_pictures(latents)


def _device(module: nn.Module) -> torch.device:
    return next((weight.device for weight in module.parameters()), torch.device("cpu"))


def parse_reference(reference: str) -> tuple[Path, str]:
    """File and function of ``path.py:function``.

    Raises:
        UsageError: it is something else.
    """
    path, _, name = reference.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise UsageError(f"module must be path.py:function, such as my_model.py:make_model, not {reference}")
    return Path(path), name


def load_module(reference: str, weights: str) -> tuple[nn.Module, Callable[[Tensor], Tensor] | None]:
    """A network and its decoder from ``path.py:function`` and a safetensors file.

    The file is the user's own code and runs as such. Its function takes no arguments and returns the module; a function
    ``decode`` beside it turns samples into pictures.

    Raises:
        UsageError: the reference is not understood, or the function does not return a module.
        AssetError: the weights are missing or do not fit.
    """
    path, name = parse_reference(reference)
    file = _import(path)
    make = getattr(file, name, None)
    if not callable(make):
        known = [key for key, value in vars(file).items() if inspect.isfunction(value)]
        raise UsageError(f"{path} has no function {name}; it has: {', '.join(known) or 'none'}")
    try:
        module = make()
    except Exception as error:  # the user's own code may raise anything
        raise UsageError(f"{name} in {path} raised {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"{name} in {path} must return a torch.nn.Module, not {type(module).__name__}")
    if weights:
        _fill(module, Path(weights))
    decoder: Any = getattr(file, "decode", None)
    return module.eval().requires_grad_(False), decoder


def _import(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"{path} is not a file; module names the Python file that makes your network")
    spec = importlib.util.spec_from_file_location(f"bench_network_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code may raise anything
        raise UsageError(f"{path} cannot be imported: {type(error).__name__}: {first_line(error)}") from error
    return module


def _is_damaged(path: Path) -> bool:
    """Whether a file that is not safetensors was that once: eight bytes of a length, then JSON."""
    with path.open("rb") as file:
        return file.read(9)[8:] in (b"{", b"")


def _fill(module: nn.Module, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        module.load_state_dict(load_file(path))
    except FileNotFoundError as error:
        raise AssetError(f"there is no file {path} with the network's weights; check the path") from error
    except OSError as error:
        raise AssetError(f"{path} cannot be read: {first_line(error)}; check the path") from error
    except SafetensorError as error:
        advice = "it is damaged: bring it again" if _is_damaged(path) else "convert it (see bench convert)"
        raise AssetError(f"{path} cannot be read as safetensors: {first_line(error)}; {advice}") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise AssetError(f"the weights in {path} do not fit the module: {reason}") from error
