"""The weights of a released student in the architecture of a suite's pipeline.

The student is a copy of the pipeline that shares everything with it except the denoiser's own weights: a LoRA shares
those too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.api import Unsupported
from bench.pipelines.base import Pipeline
from bench.pipelines.families import family_of
from bench.pipelines.repository import first_line, require
from bench.released.checkpoint import Checkpoint
from bench.released.files import locate, tensors

DOWN = (".lora_down.weight", ".lora_A.weight", ".lora.down.weight")
"""What a layer of a LoRA has exactly one of, in kohya's, peft's and diffusers' older names."""

ROUNDING = 1e-3  # of a time step: what float32 may have taken off a whole number before it is cut


def share(module: nn.Module) -> nn.Module:
    """A copy of a module's structure whose parameters and buffers are the module's own tensors."""
    own = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(tensor): tensor for tensor in own})


def _fit(card: Checkpoint, network: nn.Module, state: Mapping[str, Tensor], strict: bool = True) -> None:
    """Put tensors of a file in place of a network's own, in the network's dtype and on its device.

    Raises:
        Unsupported: names or shapes are not this network's.
    """
    own = dict(network.state_dict())
    wrong = [name for name, value in state.items() if name not in own or own[name].shape != value.shape]
    missing = [name for name in own if name not in state] if strict else []
    if wrong or missing:
        name = (wrong or missing)[0]
        raise Unsupported(
            f"{card.repository} does not fit this pipeline's {type(network).__name__} (see {name}); its base is "
            f"{card.base[0]}"
        )
    network.load_state_dict({k: v.to(own[k]) for k, v in state.items()}, strict=strict, assign=True)


def _whole(card: Checkpoint, base: nn.Module, path: str) -> nn.Module:
    """All weights: a folder in diffusers' layout with its own configuration, or one file for the base's."""
    if Path(path).suffix:
        state = tensors(card, path)
        network = share(base)
        _fit(card, network, state)
        return network
    folder = locate(card, path)
    names = [file.name for file in folder.glob("*.safetensors")]
    if not names:
        raise Unsupported(f"{path} of {card.repository} holds no safetensors file; {card.command}")
    variant = "fp16" if all(".fp16" in name for name in names) else None
    dtype = next(base.parameters()).dtype
    load: Callable[..., nn.Module] = type(base).from_pretrained  # type: ignore[attr-defined]
    try:
        return load(folder, variant=variant, torch_dtype=dtype, use_safetensors=True, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise Unsupported(f"{path} of {card.repository} cannot be loaded: {first_line(error)}") from error


def _delta(card: Checkpoint, base: nn.Module, path: str) -> nn.Module:
    """The base's weights plus those of the file."""
    own = base.state_dict()
    state = {key: own[key] + value.to(own[key]) if key in own else value for key, value in tensors(card, path).items()}
    network = share(base)
    _fit(card, network, state)
    return network


def _motion(card: Checkpoint, base: nn.Module, path: str) -> nn.Module:
    """Motion modules in place of the base's."""
    network = share(base)
    _fit(card, network, tensors(card, path), strict=False)
    return network


def _peft(card: Checkpoint, network: nn.Module, path: str) -> nn.Module:
    """A LoRA in peft's own layout: ``adapter_config.json`` beside ``adapter_model.safetensors``."""
    from peft import PeftModel

    adapted: Any = PeftModel.from_pretrained(network, str(locate(card, path).parent)).base_model
    inner: nn.Module = adapted.model
    return inner


def _adapt(card: Checkpoint, pipe: Any, name: str, network: nn.Module, path: str) -> nn.Module:
    """A LoRA in one of the formats that diffusers reads, on a network that shares its base's weights."""
    state = tensors(card, path)
    if any(key.startswith(("text_encoder", "lora_te")) for key in state):
        raise Unsupported(f"{path} of {card.repository} also changes the text encoders, which all methods share")
    holder = copy.copy(pipe)
    setattr(holder, name, network)
    holder.load_lora_weights(state, adapter_name="student")
    if card.lora_scale != 1.0:
        adapted: Any = getattr(holder, name)
        adapted.set_adapters(["student"], [card.lora_scale])
    wanted = sum(key.endswith(DOWN) for key in state)
    found = sum(".lora_A." in key for key, _ in network.named_parameters())
    if found < wanted:
        raise ValueError(f"{wanted - found} of its {wanted} layers are not there")
    return network


def _lora(card: Checkpoint, pipe: Any, name: str, network: nn.Module, path: str) -> nn.Module:
    """A network with a LoRA that belongs to it.

    Raises:
        Unsupported: the file is missing, or adapts other layers.
    """
    require("peft")
    from safetensors import SafetensorError

    try:
        if Path(path).name.startswith("adapter_model"):
            return _peft(card, network, path)
        return _adapt(card, pipe, name, network, path)
    except (ValueError, KeyError, RuntimeError, OSError, SafetensorError) as error:
        kind = type(pipe).__name__
        raise Unsupported(f"{path} of {card.repository} does not fit this {kind}: {first_line(error)}") from error


class Told(nn.Module):
    """A student's network that is told another time than its base would be, or predicts with the other sign.

    Args:
        network: the student.
        card: its declaration.
    """

    def __init__(self, network: nn.Module, card: Checkpoint) -> None:
        super().__init__()
        self.network = network
        self.card = card

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)

    def time(self, t: Tensor) -> Tensor:
        """What the network is told of the time (B,)."""
        scaled = t * self.card.time_scale
        return torch.floor(scaled + ROUNDING) if self.card.time_floor else scaled

    def forward(self, *args: Any, **named: Any) -> tuple[Tensor, ...]:
        """The network's output, as a tuple."""
        if "timestep" in named:
            named["timestep"] = self.time(named["timestep"])
        else:
            args = (args[0], self.time(args[1]), *args[2:])
        output: tuple[Tensor, ...] = self.network(*args, **{**named, "return_dict": False})
        return (-output[0], *output[1:]) if self.card.prediction == "data_velocity" else output


def _scheduler(card: Checkpoint, scheduler: Any) -> Any:
    """The scheduler that says what the student's process and prediction are; its grid is never used."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    if card.unit == "sigma":
        return scheduler
    if card.unit == "flow":
        return FlowMatchEulerDiscreteScheduler()  # type: ignore[no-untyped-call]
    prediction = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}.get(card.prediction)
    changes = {**({"prediction_type": prediction} if prediction else {}), **card.schedule}
    return type(scheduler).from_config(scheduler.config, **changes)


def build(card: Checkpoint, nfe: int, teacher: Pipeline, guidance_scale: float) -> Pipeline:
    """The student for a budget as a pipeline of the teacher's family.

    Raises:
        Unsupported: another architecture, or weights that are missing or do not fit.
    """
    kind = type(teacher.pipe).__name__
    if kind not in card.pipelines:
        raise Unsupported(
            f"{card.repository} is a student of {card.base[0]} ({card.pipelines[0]}), not of this suite's {kind}"
        )
    name = "unet" if hasattr(teacher.pipe, "unet") else "transformer"
    base = teacher.denoiser
    if hasattr(base, "_hf_hook"):
        raise Unsupported("released students share the base's weights on the device; leave offload out of the suite")
    network = _network(card, nfe, teacher.pipe, name, base)
    first = next(base.parameters())
    network = network.to(first.device).eval().requires_grad_(False)
    pipe = copy.copy(teacher.pipe)
    pipe.scheduler = _scheduler(card, pipe.scheduler)
    if card.time_scale != 1.0 or card.time_floor or card.prediction == "data_velocity":
        network = Told(network, card)
    setattr(pipe, name, network)
    family = family_of(card.family) if card.family else type(teacher)
    student = family(pipe, replace(teacher.settings, guidance_scale=guidance_scale))
    if card.embedded and not student.is_told:
        raise Unsupported(
            f"the network of {card.repository} is told the guidance scale, and this pipeline's {type(base).__name__} "
            "has no input for it"
        )
    return student


def _network(card: Checkpoint, nfe: int, pipe: Any, name: str, base: nn.Module) -> nn.Module:
    path = card.file(nfe)
    if card.kind == "lora":
        return _lora(card, pipe, name, share(base), path)
    load = {"unet": _whole, "transformer": _whole, "delta": _delta, "motion": _motion}[card.kind]
    network = load(card, base, path)
    return _lora(card, pipe, name, network, card.lora) if card.lora else network
