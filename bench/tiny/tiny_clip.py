"""A small open-clip model of CIFAR-10 at 16x16: the judge of the text-to-image suite, not a part of its teacher.

Image tower: CLIP's ModifiedResNet (Radford et al. 2021, arXiv 2103.00020) on pictures enlarged to 32x32. Text tower: a
causal transformer with its own vocabulary, weights and seed. Each picture is matched with the ten class captions, whose
template is drawn anew at every step. A linear decoder from the embedding back to the picture is trained along and
thrown away: labels alone would let the embedding forget all else, and a Frechet distance there would miss blur.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from bench.features.base import require
from bench.nets.optimise import Plan, ignore, seeded
from bench.tiny.captions import CIFAR_CLASSES, CIFAR_TEMPLATES, image_captions
from bench.tiny.cifar import Images
from bench.tiny.tokens import CONTEXT, build_tokenizer, tokenize
from bench.tiny.training import How, Progress, train

EMBEDDING: Final = 64
RESOLUTION: Final = 32  # what the image tower sees


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters; the defaults are those of the shipped model."""

    plan: Plan = field(default_factory=lambda: Plan(steps=3000, rate=2e-3, batch=128, decay=0.998))
    shifted: int = 2  # pixels by which a picture is moved at most
    reconstruction: float = 1.0  # weight of the auxiliary loss


def config(vocabulary: int) -> dict[str, Any]:
    """The model as open-clip's configuration files state it."""
    vision = {"image_size": RESOLUTION, "layers": [1, 2, 2, 1], "width": 16, "patch_size": None}
    text = {"context_length": CONTEXT, "vocab_size": vocabulary, "width": 64, "heads": 2, "layers": 2}
    return {"embed_dim": EMBEDDING, "vision_cfg": vision, "text_cfg": text}


def build(vocabulary: int) -> Any:
    """An untrained model of this configuration."""
    return require("open_clip", "metrics").CLIP(**config(vocabulary))


def enlarge(images: Tensor) -> Tensor:
    """(B, 3, 16, 16) -> (B, 3, 32, 32), bicubic as PIL does it."""
    size = (RESOLUTION, RESOLUTION)
    return F.interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False)


def augment(images: Tensor, shifted: int, generator: Generator) -> Tensor:
    """Mirror half of the pictures and move all by one common offset, edges repeated."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    row, column = torch.randint(0, 2 * shifted + 1, (2,), generator=generator).tolist()
    padded = F.pad(images, (shifted,) * 4, mode="replicate")
    return padded[:, :, row : row + images.shape[2], column : column + images.shape[3]]


def train_clip(
    images: Images,
    held_out: Images,
    *,
    seed: int,
    recipe: Recipe | None = None,
    progress: Progress = ignore,
    checkpoint: Path | None = None,
) -> tuple[nn.Module, Any, dict[str, Any]]:
    """Train on ``images``; ``held_out`` measures the accuracy.

    Returns:
        The model in evaluation mode, its tokenizer, its training record.
    """
    recipe = recipe or Recipe()
    tokenizer = build_tokenizer(image_captions())
    model = seeded(lambda: build(len(tokenizer)), seed)
    decoder = seeded(lambda: nn.Linear(EMBEDDING, images.pixels[0].numel()), seed)
    both = nn.ModuleDict({"model": model, "decoder": decoder})
    tokens = tokenize(tokenizer, image_captions()).view(len(CIFAR_TEMPLATES), len(CIFAR_CLASSES), CONTEXT)
    pixels, label = images.scaled(), images.label

    def loss(generator: Generator, _: int) -> Tensor:
        chosen = torch.randint(len(pixels), (recipe.plan.batch,), generator=generator)
        template = torch.randint(len(tokens), (len(CIFAR_CLASSES),), generator=generator)
        seen = augment(pixels[chosen], recipe.shifted, generator)
        embedding = model.encode_image(enlarge(seen).contiguous(memory_format=torch.channels_last))
        texts = model.encode_text(tokens[template, torch.arange(len(CIFAR_CLASSES))], normalize=True)
        logits = model.logit_scale.exp().clamp(max=100) * F.normalize(embedding, dim=-1) @ texts.T
        rebuilt = F.mse_loss(decoder(embedding).float(), seen.flatten(1))
        return F.cross_entropy(logits.float(), label[chosen], label_smoothing=0.05) + recipe.reconstruction * rebuilt

    state, run = train(both, loss, recipe.plan, How(seed, progress, checkpoint, half=True))
    model.load_state_dict({k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")})
    model.eval().requires_grad_(False)
    record = {"accuracy_held_out": accuracy(model, tokens, held_out), "data": images.name, "data_sha256": images.sha256}
    parameters = sum(value.numel() for value in model.parameters())
    return model, tokenizer, {**record, "parameters": parameters, "seed": seed, "recipe": asdict(recipe), "run": run}


@torch.inference_mode()
def accuracy(model: Any, tokens: Tensor, images: Images) -> float:
    """Share of pictures whose nearest class, by the mean of its captions, is the right one."""
    texts = class_embeddings(model, tokens)
    scores = [model.encode_image(enlarge(part)) @ texts.T for part in torch.split(images.scaled(), 500)]
    return round(float((torch.cat(scores).argmax(1) == images.label).float().mean()), 4)


def class_embeddings(model: Any, tokens: Tensor) -> Tensor:
    """(classes, E) normalised mean over the templates, from tokens (templates, classes, 16)."""
    flat = model.encode_text(tokens.flatten(0, 1), normalize=True)
    return F.normalize(flat.view(*tokens.shape[:2], -1).mean(0), dim=-1)
