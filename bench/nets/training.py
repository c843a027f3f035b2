"""Training of the digits suite's teacher (Karras et al. 2022, arXiv 2206.00364) and of its classifier."""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from bench.nets.augment import add_noise, shift
from bench.nets.classifier import FEATURES, DigitsCNN
from bench.nets.loss import drop_labels, edm_loss, lognormal_sigmas
from bench.nets.optimise import Checkpoint, Plan, Progress, ignore, optimise, seeded
from bench.nets.precond import EDMPrecond
from bench.nets.unet import UNet, UNetConfig

State = dict[str, Tensor]
Record = dict[str, Any]


@dataclass(frozen=True)
class TeacherRecipe:
    """Hyper-parameters of the teacher; the defaults are those of the shipped one."""

    net: UNetConfig = field(default_factory=UNetConfig)
    plan: Plan = field(default_factory=lambda: Plan(steps=7000))
    # ln(sigma) ~ N(p_mean, p_std^2): wider than in the paper, whose sigma_max = 80 is 4.6 deviations out
    p_mean: float = -0.6
    p_std: float = 1.5
    label_dropout: float = 0.1


@dataclass(frozen=True)
class ClassifierRecipe:
    """Hyper-parameters of the classifier; the defaults are those of the shipped one."""

    plan: Plan = field(default_factory=lambda: Plan(steps=2000, decay=0.99))
    shifted: float = 0.5  # share of images moved by one pixel
    noise: float = 0.05  # largest standard deviation of the noise on the images
    reconstruction: float = 1.0  # weight of the auxiliary loss
    held_out: float = 0.2  # share of images kept from the second run, which measures the accuracy


def train_teacher(
    images: Tensor,
    labels: Tensor,
    *,
    seed: int,
    recipe: TeacherRecipe | None = None,
    progress: Progress = ignore,
    checkpoint: Checkpoint = ignore,
) -> tuple[State, Record]:
    """Train D(x, sigma, label) on all images, without augmentation: the data set is the population.

    Args:
        images, labels: (N, C, H, W) in [-1, 1] and (N,) int64.
        seed: of the weights, the batches, the noise levels and the noise.
        recipe, progress, checkpoint: see `TeacherRecipe` and `optimise`.

    Returns:
        The averaged weights of the U-Net, and what is needed to rebuild it and to know how it came about.
    """
    recipe = recipe or TeacherRecipe()
    net = seeded(lambda: UNet(recipe.net), seed)
    denoiser = EDMPrecond(net, sigma_data=round(float(images.std()), 4))
    generator = Generator().manual_seed(seed)
    batch = recipe.plan.batch

    def loss() -> Tensor:
        chosen = torch.randint(len(images), (batch,), generator=generator)
        x0 = images[chosen]  # (B, C, H, W)
        label = drop_labels(labels[chosen], recipe.net.classes, recipe.label_dropout, generator)
        sigma = lognormal_sigmas(batch, recipe.p_mean, recipe.p_std, generator)
        return edm_loss(denoiser, x0, label, sigma, torch.randn(x0.shape, generator=generator))

    state, run = optimise(net, loss, recipe.plan, progress, checkpoint)
    config = {"net": asdict(recipe.net), "sigma_data": denoiser.sigma_data}
    return state, {"config": config, **_record(net, seed, recipe, run)}


def train_classifier(
    images: Tensor,
    labels: Tensor,
    *,
    seed: int,
    recipe: ClassifierRecipe | None = None,
    progress: Progress = ignore,
) -> tuple[State, Record]:
    """Train the classifier on all images; a second run without a fifth of them measures its accuracy.

    A linear decoder from the features back to the image is trained along and thrown away. Labels alone would
    let the features forget everything within a class, and a Frechet distance there would miss blur and collapse.
    """
    recipe = recipe or ClassifierRecipe()
    order = torch.randperm(len(images), generator=Generator().manual_seed(seed))
    kept, held = order.tensor_split([len(images) - int(recipe.held_out * len(images))])
    probe, _, _ = _fit_classifier(images[kept], labels[kept], seed, recipe, ignore)
    network, state, run = _fit_classifier(images, labels, seed, recipe, progress)
    accuracy = {
        "held_out_accuracy": _accuracy(probe, images[held], labels[held]),
        "held_out_images": len(held),
        "training_accuracy": _accuracy(network, images, labels),
    }
    return state, {"config": {"classes": 10}, **accuracy, **_record(network, seed, recipe, run)}


def _fit_classifier(
    images: Tensor, labels: Tensor, seed: int, recipe: ClassifierRecipe, progress: Progress
) -> tuple[DigitsCNN, State, Record]:
    network = seeded(DigitsCNN, seed)
    decoder = seeded(lambda: nn.Linear(FEATURES, images[0].numel()), seed)
    generator = Generator().manual_seed(seed)

    def loss() -> Tensor:
        chosen = torch.randint(len(images), (recipe.plan.batch,), generator=generator)
        clean = shift(images[chosen], recipe.shifted, generator)
        features, logits = network(add_noise(clean, recipe.noise, generator))
        rebuilt = F.mse_loss(decoder(features), clean.flatten(1))
        return F.cross_entropy(logits, labels[chosen]) + recipe.reconstruction * rebuilt

    both = nn.ModuleDict({"network": network, "decoder": decoder})
    average, run = optimise(both, loss, recipe.plan, progress)
    state = {k.removeprefix("network."): v for k, v in average.items() if k.startswith("network.")}
    network.load_state_dict(state)
    return network, state, run


@torch.inference_mode()
def _accuracy(network: DigitsCNN, images: Tensor, labels: Tensor) -> float:
    _, logits = network(images)
    return round(float((logits.argmax(1) == labels).float().mean()), 4)


def _record(network: nn.Module, seed: int, recipe: TeacherRecipe | ClassifierRecipe, run: Record) -> Record:
    plan = recipe.plan
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "seed": seed,
        "images_seen": plan.steps * plan.batch,
        "recipe": asdict(recipe),
        "run": run,
    }
