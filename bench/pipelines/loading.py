"""From files to a pipeline on a device: dtype, LoRA, offloading, slicing, compilation; one copy per process.

Modules are in evaluation mode and need no gradients. What is loaded stays loaded and is shared by all that ask for the
same: the reference solver, the methods and the decoder use one copy of the weights per device and dtype.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from bench.errors import AssetError, UsageError
from bench.pipelines import hub
from bench.pipelines.base import Pipeline, Settings
from bench.pipelines.families import family_of
from bench.pipelines.repository import EXTRA, UNUSED, Found, first_line, require

Offload = Literal["none", "model", "sequential"]


@dataclass(frozen=True)
class Source:
    """What determines the modules.

    Attributes:
        model: a folder, ``owner/name`` or ``owner/name@revision``.
        variant: of the weights' files, such as ``fp16``; empty for none.
        allow_code: ``owner/name@commit`` of a repository whose own code may run.
        lora: a safetensors file, or ``owner/name:file``, that is merged into the weights; empty for none.
        lora_scale: its strength.
        offload: whether modules wait in host memory until they are needed.
        slicing: attention and VAE work through a batch in slices: less memory, more time, the same results.
        tiling: the VAE decodes large pictures in tiles, whose seams may show.
        compile: a backend of ``torch.compile`` for the denoiser, such as ``inductor``; empty for none.
    """

    model: str
    variant: str = ""
    allow_code: str = ""
    lora: str = ""
    lora_scale: float = 1.0
    offload: Offload = "none"
    slicing: bool = False
    tiling: bool = False
    compile: str = ""

    def find(self) -> Found:
        """The files; raises as ``bench.pipelines.hub.locate``."""
        return hub.locate(self.model, self.variant or None, self.allow_code)


_pipes: dict[tuple[Source, str, torch.dtype], Any] = {}
_lock = threading.Lock()


def open_pipeline(source: Source, settings: Settings, device: torch.device, dtype: torch.dtype) -> Pipeline:
    """The pipeline of a source, loaded once per process, device and dtype.

    Raises:
        UsageError: an unknown pipeline class, an option that cannot be honoured, a missing package.
        AssetError: files are missing or damaged.
    """
    found = source.find()
    family = family_of(found.class_name)
    key = (source, str(device), dtype)
    with _lock:
        if key not in _pipes:
            _pipes[key] = load(source, found, device, dtype)
        return family(_pipes[key], settings)


def forget() -> None:
    """Let go of everything that is loaded or was found on the hub."""
    with _lock:
        _pipes.clear()
        hub.forget()


@torch.inference_mode(False)  # weights made in inference mode could not be used where methods are fitted
def load(source: Source, found: Found, device: torch.device, dtype: torch.dtype) -> Any:
    """A ``DiffusionPipeline``, new; raises as ``open_pipeline``."""
    require("diffusers")
    if source.offload != "none" and device.type == "cpu":
        raise UsageError("offload moves modules between host and accelerator; there is nothing to move with device cpu")
    with quiet():
        pipe = _from_files(source, found, dtype)
        if source.lora:
            _merge(pipe, source)
        for module in modules(pipe).values():
            module.eval().requires_grad_(False)
        _place(pipe, source, device)
        _save_memory(pipe, source)
    if source.compile:
        _compile(pipe, source.compile)
    return pipe


def modules(pipe: Any) -> dict[str, nn.Module]:
    """The networks of a pipeline by their component's name."""
    return {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Progress bars and advice of third parties do not belong in our output; their errors become exceptions."""
    from diffusers.utils import logging as theirs
    from transformers.utils import logging as others

    levels = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in (theirs, others)]
    for log, _, _ in levels:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level, bar in levels:
            log.set_verbosity(level)
            if bar:
                log.enable_progress_bar()


def _class_of(name: str) -> Any:
    """The pipeline class: ours for pixel space, otherwise whatever the folder names."""
    import diffusers

    from bench.pipelines import pixel_pipeline

    return getattr(pixel_pipeline, name, None) or getattr(diffusers, name, diffusers.DiffusionPipeline)


def _from_files(source: Source, found: Found, dtype: torch.dtype) -> Any:
    from safetensors import SafetensorError

    unused = {name: None for name in UNUSED if name in found.index}
    try:
        pipe = _class_of(found.class_name).from_pretrained(
            str(found.folder),
            torch_dtype=dtype,
            use_safetensors=True,
            variant=source.variant or None,
            local_files_only=True,
            trust_remote_code=found.allows(source.allow_code),
            **unused,
        )
    except ImportError as error:
        raise UsageError(f"{found.class_name} needs a package that is not installed: {first_line(error)}") from error
    except AttributeError as error:  # a class that this version of diffusers or transformers does not have
        raise UsageError(f"{found.class_name} needs newer packages: {first_line(error)}; {EXTRA}") from error
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        reason = first_line(error)
        raise AssetError(f"the pipeline in {found.folder} cannot be loaded: {reason}; the copy is damaged") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def lora_file(lora: str) -> Path:
    """The file of LoRA weights.

    Raises:
        UsageError: it is not named by a safetensors file.
        AssetError: there is no such file.
    """
    path = Path(lora).expanduser()
    repository, colon, name = lora.partition(":")
    if path.suffix != ".safetensors":
        raise UsageError(f"lora must be a .safetensors file or owner/name:file.safetensors, not {lora}")
    if path.is_file():
        return path
    if not colon or "/" not in repository:
        raise AssetError(f"there is no file {lora} with LoRA weights; check the path")
    return hub.one_file(repository, name)


def _merge(pipe: Any, source: Source) -> None:
    """LoRA weights become part of the network's, so that they cost nothing at every step."""
    require("peft")
    from safetensors import SafetensorError

    path = lora_file(source.lora)
    if not hasattr(pipe, "load_lora_weights"):
        raise UsageError(f"{type(pipe).__name__} takes no LoRA weights")
    try:
        pipe.load_lora_weights(str(path.parent), weight_name=path.name, local_files_only=True)
        if not pipe.get_active_adapters():  # diffusers says so in a log only
            raise ValueError("no weight of it belongs to a module of the pipeline")
        pipe.fuse_lora(lora_scale=source.lora_scale)
        pipe.unload_lora_weights()
    except (ValueError, RuntimeError, LookupError, OSError, SafetensorError) as error:
        raise AssetError(f"{path} does not fit {type(pipe).__name__}: {first_line(error)}") from error


def _place(pipe: Any, source: Source, device: torch.device) -> None:
    if source.offload == "none":
        pipe.to(device)
        return
    require("accelerate")
    if source.offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.enable_sequential_cpu_offload(device=device)


def _save_memory(pipe: Any, source: Source) -> None:
    """Slicing and tiling where the modules have them.

    Raises:
        UsageError: they were asked for and nothing has them.
    """
    vae = getattr(pipe, "vae", None) or getattr(pipe, "vqvae", None)
    done = []
    if source.slicing:
        pipe.enable_attention_slicing()
        done.append(_enable(vae, "enable_slicing") or hasattr(pipe, "unet"))
    if source.tiling:
        done.append(_enable(vae, "enable_tiling"))
    if not all(done):
        raise UsageError(f"{type(pipe).__name__} has no module that can be sliced or tiled; leave the option out")


def _enable(module: Any, name: str) -> bool:
    switch = getattr(module, name, None)
    if switch is None:
        return False
    switch()
    return True


def _compile(pipe: Any, backend: str) -> None:
    """Compile the denoiser (both, where there are two) in place; its weights keep their names and stay shared."""
    known = torch._dynamo.list_backends(exclude_tags=())
    if backend not in known:
        raise UsageError(f"torch.compile has no backend {backend!r} here; known: {', '.join(known)}")
    for name in ("unet", "transformer", "transformer_2"):
        denoiser = getattr(pipe, name, None)
        if denoiser is not None:
            denoiser.compile(backend=backend)
