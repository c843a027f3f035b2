"""From nothing to the files of a small suite: what ``bench fit --suite tiny_t2i --teacher`` runs.

::

    record.json             every file's SHA-256, the training records
    pipeline/               diffusers' layout: unet or transformer, text_encoder, tokenizer, scheduler
    clip/                   tiny_t2i: an open-clip model in open-clip's layout
    motion.safetensors      moving_digits: the feature network
    reference.safetensors   tiny_t2i: features of 5,000 training pictures

Weights are stored in float16 and computed with in float32. Interrupted, it goes on from checkpoints in the folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save
from torch import Tensor, nn

from bench.features.base import require
from bench.store import write_durable
from bench.tiny import motion, text_to_image, tiny_clip, video
from bench.tiny.assets import write_record
from bench.tiny.cifar import Images
from bench.tiny.digit_clips import FRAMES, SIZE
from bench.tiny.judge import CONFIG, WEIGHTS, Judge
from bench.tiny.network import quiet
from bench.tiny.schedules import SCHEDULE
from bench.tiny.tokens import save_tokenizer

Progress = Callable[[int, int, str], None]

REFERENCE: Final = 5000  # pictures whose features are kept
JUDGE_SEED: Final = 1  # added to the teacher's: the judge shares nothing with it


def write_half(path: Path, state: dict[str, Tensor]) -> None:
    """Write tensors, floating-point ones in float16 and the others as they are."""
    small = {k: (v.to(torch.float16) if v.is_floating_point() else v).contiguous() for k, v in state.items()}
    write_durable(path, save(small))


def write_pipeline(folder: Path, kind: str, parts: dict[str, Any], scheduler: Any, **config: Any) -> None:
    """Write a pipeline as diffusers does, weights in float16.

    Args:
        folder: made if it is not there.
        kind: a class of ``bench.pipelines.pixel_pipeline``.
        parts: the components by name.
        scheduler: diffusers' scheduler.
        config: further entries of ``model_index.json``.
    """
    with quiet():
        from bench.pipelines import pixel_pipeline

        for part in parts.values():
            if isinstance(part, nn.Module):
                part.to(torch.float16)
        pipe = getattr(pixel_pipeline, kind)(**parts, scheduler=scheduler, **config)
        pipe.save_pretrained(folder, safe_serialization=True)
    save_tokenizer(parts["tokenizer"], folder / "tokenizer")


def write_clip(folder: Path, model: nn.Module, tokenizer: Any) -> None:
    """Write a CLIP model in open-clip's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    write_half(folder / WEIGHTS, model.state_dict())
    config = tiny_clip.config(len(tokenizer))
    config["text_cfg"]["hf_tokenizer_name"] = "."  # open-clip then looks into this folder
    known = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    text = json.dumps({"model_cfg": config, "preprocess_cfg": known}, indent=1)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
    save_tokenizer(tokenizer, folder)


def write_reference(path: Path, judge: Judge, images: Images, count: int = REFERENCE) -> None:
    """Write features (count, E) float16 and classes of the first pictures; their order is shuffled in the source."""
    pixels, label = images.pixels[:count], images.label[:count]
    write_half(path, {"features": judge.embed(pixels), "label": label.to(torch.uint8)})


def make_tiny_t2i(images: Images, held_out: Images, destination: Path, *, seed: int, progress: Progress) -> None:
    """Train judge and teacher, in this order, and write all files."""
    destination.mkdir(parents=True, exist_ok=True)
    points = {name: destination / f"{name}.checkpoint" for name in ("clip", "teacher")}
    model, tokenizer, judge = tiny_clip.train_clip(
        images, held_out, seed=seed + JUDGE_SEED, progress=progress, checkpoint=points["clip"]
    )
    parts, record = text_to_image.train_text_to_image(
        images, seed=seed, progress=progress, checkpoint=points["teacher"]
    )
    write_tiny_t2i(destination, images, (model, tokenizer), parts, {"judge": judge, "teacher": record})
    for path in points.values():
        path.unlink(missing_ok=True)


def write_tiny_t2i(
    destination: Path, images: Images, judge: tuple[nn.Module, Any], parts: dict[str, Any], record: dict[str, Any]
) -> None:
    """Write what was trained."""
    scheduler = require("diffusers", "diffusers").DDIMScheduler(**SCHEDULE)
    write_clip(destination / "clip", *judge)
    write_pipeline(destination / "pipeline", "PixelTextPipeline", parts, scheduler)
    write_reference(destination / "reference.safetensors", Judge.load(destination / "clip"), images)
    write_record(destination, record)


def make_moving_digits(destination: Path, *, seed: int, progress: Progress) -> None:
    """Train feature network and teacher, in this order, and write all files."""
    destination.mkdir(parents=True, exist_ok=True)
    points = {name: destination / f"{name}.checkpoint" for name in ("motion", "teacher")}
    network, features = motion.train_motion(seed=seed + JUDGE_SEED, progress=progress, checkpoint=points["motion"])
    parts, record = video.train_video(seed=seed, progress=progress, checkpoint=points["teacher"])
    write_moving_digits(destination, network, parts, {"features": features, "teacher": record})
    for path in points.values():
        path.unlink(missing_ok=True)


def write_moving_digits(destination: Path, network: nn.Module, parts: dict[str, Any], record: dict[str, Any]) -> None:
    """Write what was trained."""
    scheduler = require("diffusers", "diffusers").FlowMatchEulerDiscreteScheduler()
    write_pipeline(destination / "pipeline", "PixelTextToVideoPipeline", parts, scheduler, size=(FRAMES, SIZE, SIZE))
    write_half(destination / "motion.safetensors", network.state_dict())
    write_record(destination, record)
