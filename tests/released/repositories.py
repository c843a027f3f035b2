"""Tiny base pipelines, and repositories with the file names, folders and key formats of the released ones."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.pipelines.base import Settings
from bench.pipelines.conditions import Table
from bench.pipelines.families import family_of
from bench.pipelines.network import GuidedRows, pipeline_network
from bench.released.checkpoint import Checkpoint
from bench.released.teacher import PipelineTeacher

sys.path.insert(0, str(Path(__file__).parent.parent / "pipelines"))
import tiny
import tiny_transformers

__all__ = ["load_file", "save_file"]

PROMPTS = ("a red cat", "a dog")
SEED = 0
FLUX = {"height": 24, "width": 32}
HUNYUAN = {"height": 32, "width": 48}


BUILD: dict[str, Callable[[], Any]] = {
    "StableDiffusionPipeline": lambda: tiny.stable_diffusion(),
    "StableDiffusionXLPipeline": lambda: tiny.stable_diffusion_xl(),
    "StableDiffusion3Pipeline": lambda: tiny_transformers.stable_diffusion_3(shift=3.0),
    "FluxPipeline": lambda: tiny_transformers.flux(True),
    "SanaPipeline": lambda: tiny_transformers.sana(),
    "PixArtAlphaPipeline": lambda: tiny_transformers.pixart(),
    "CogVideoXPipeline": lambda: tiny_transformers.cogvideox(),
    "WanPipeline": lambda: tiny_transformers.wan(),
    "AnimateDiffPipeline": lambda: tiny_transformers.animatediff(),
    "HunyuanVideoPipeline": lambda: _hunyuan_video(),
    "ConsistencyModelPipeline": lambda: tiny.consistency(),
}


def _hunyuan_video() -> Any:
    from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE

    return tiny_transformers.hunyuan_video((str(DEFAULT_PROMPT_TEMPLATE["template"]), *PROMPTS))


@cache
def base(kind: str) -> Any:
    """The tiny base pipeline of a class; nothing may change it."""
    with tiny.quiet():
        pipe = BUILD[kind]()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def settings(kind: str) -> Settings:
    frames = {"AnimateDiffPipeline": 2, "CogVideoXPipeline": 5, "WanPipeline": 5, "HunyuanVideoPipeline": 5}.get(kind)
    small = {"WanPipeline": {"height": 16, "width": 16}, "FluxPipeline": FLUX, "HunyuanVideoPipeline": HUNYUAN}.get(
        kind, {}
    )
    return Settings(guidance_scale=2.0 if kind not in ("ConsistencyModelPipeline",) else None, frames=frames, **small)


class Suite:
    """What a teacher asks of a suite with a pipeline."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.shape = pipeline.shape
        self.process = pipeline.process
        self.sigma_min, self.sigma_max = pipeline.schedule.sigma_min, pipeline.schedule.sigma_max

    def label(self, index: Sequence[int]) -> Tensor:
        return torch.as_tensor(list(index)) % 2

    def bind(self, network: Any, label: Tensor) -> Any:
        return GuidedRows(network, label, 2, self.pipeline.weight)


@cache
def teacher(kind: str) -> PipelineTeacher:
    """A teacher on the tiny base of a class."""
    with tiny.quiet():
        pipeline = family_of(kind)(base(kind), settings(kind))
        prompts = PROMPTS if pipeline.text else ("0", "1")
        network = pipeline_network(pipeline, Table(pipeline, prompts))
    suite: Any = Suite(pipeline)
    return PipelineTeacher(suite, network, torch.device("cpu"), torch.float32)


def denoiser(pipe: Any) -> Any:
    return pipe.unet if hasattr(pipe, "unet") else pipe.transformer


def _random(shape: Sequence[int], source: torch.Generator, size: float = 0.05) -> Tensor:
    return size * torch.randn(*shape, generator=source)


def linears(network: nn.Module) -> list[tuple[str, nn.Linear]]:
    """The attention projections that released LoRAs adapt."""
    ends = ("to_q", "to_k", "to_v", "to_out.0")
    spatial = ((name, m) for name, m in network.named_modules() if "motion_modules" not in name)
    found = [(name, m) for name, m in spatial if isinstance(m, nn.Linear) and name.endswith(ends)]
    assert found
    return found


def lora(network: nn.Module, prefix: str, source: torch.Generator, form: str) -> dict[str, Tensor]:
    """A rank-2 LoRA in peft's, diffusers' or kohya's names."""
    state: dict[str, Tensor] = {}
    for name, module in linears(network):
        down = _random((2, module.in_features), source, 0.5)
        up = _random((module.out_features, 2), source, 0.5)
        if form == "kohya":
            key = f"lora_{prefix}_" + name.replace(".", "_")
            state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(2.0)}
        else:
            key = f"base_model.model.{name}" if form == "peft" else f"{prefix}.{name}"
            state |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}
    return {key: value.contiguous() for key, value in state.items()}


PEFT_CONFIG = """{"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["to_q", "to_k", "to_v", "to_out.0"],
"base_model_name_or_path": "", "task_type": null, "bias": "none", "lora_dropout": 0.0}"""


def changed(network: nn.Module, source: torch.Generator) -> nn.Module:
    """A copy with other weights of the same shapes."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(_random(parameter.shape, source))
    return other


def student(card: Checkpoint, network: Any) -> Any:
    """The student's own architecture where it is not the base's."""
    if card.repository.startswith("latent-consistency/lcm-s") or card.repository.startswith("SimianLuo"):
        return type(network).from_config(network.config, time_cond_proj_dim=8)
    if "FLUX.1-schnell" in card.repository:
        return tiny_transformers.flux(False).transformer
    if "Sana_Sprint" in card.repository:
        return tiny_transformers.sana(sprint=True).transformer
    return network


def save(state: dict[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.detach().clone().contiguous() for key, value in state.items()}, path)


def _write(card: Checkpoint, path: str, folder: Path, network: Any, prefix: str, source: torch.Generator) -> None:
    file = folder / path
    if Path(path).suffix and Path(path).suffix != ".safetensors":
        file = file.with_suffix(".safetensors")  # converted by the user
    if card.kind == "lora":
        form = "peft" if file.name.startswith("adapter_model") else "kohya" if prefix == "unet" else "diffusers"
        save(lora(network, prefix, source, form), file)
        if form == "peft":
            (file.parent / "adapter_config.json").write_text(PEFT_CONFIG)
        return
    other = changed(student(card, network), source)
    if card.kind == "motion":
        state = {k: v for k, v in other.state_dict().items() if "motion_modules" in k}
        save(state, file)
    elif card.kind == "delta":
        own = network.state_dict()
        save({k: v - own[k] for k, v in other.state_dict().items()}, file)
    elif file.suffix:
        save(dict(other.state_dict()), file)
    else:
        with tiny.quiet():
            other.save_pretrained(file)  # type: ignore[operator]


def repository(card: Checkpoint, root: Path, kind: str) -> Path:
    """Write the repository of a checkpoint with tiny random weights; returns its folder."""
    folder = root.joinpath(*card.repository.split("/"))
    network = denoiser(base(kind))
    prefix = "unet" if hasattr(base(kind), "unet") else "transformer"
    for nfe, path in card.files.items():
        _write(card, path, folder, network, prefix, torch.Generator().manual_seed(100 + nfe))
    if card.lora:
        save(lora(network, prefix, torch.Generator().manual_seed(99), "kohya"), folder / card.lora)
    return folder
