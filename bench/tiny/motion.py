"""The feature network of the video suite: what digit is seen, where it goes, and what the clip looks like."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from bench.errors import AssetError
from bench.nets.optimise import Plan, ignore, seeded
from bench.tiny.captions import DIGITS
from bench.tiny.digit_clips import FRAMES, ROOM, SIZE, draw_clips
from bench.tiny.training import How, Progress, train

FEATURES: Final = 64


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters; the defaults are those of the shipped network."""

    plan: Plan = field(default_factory=lambda: Plan(steps=2500, rate=2e-3, batch=128, decay=0.998))
    path: float = 1.0  # weight of the loss on the digit's path
    reconstruction: float = 1.0  # weight of the loss on the rebuilt clip
    noise: float = 0.1  # largest standard deviation of the noise on the clips


class MotionCNN(nn.Module):
    """Three strided 3-D convolutions; (B, 1, 8, 16, 16) in [-1, 1] -> features (B, 64) and class logits (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(1, 16, 3, stride=(1, 2, 2), padding=1),
            nn.SiLU(),
            nn.Conv3d(16, 32, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv3d(32, 64, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(64 * 2 * 2 * 2, FEATURES),
        )
        self.head = nn.Sequential(nn.SiLU(), nn.Linear(FEATURES, len(DIGITS)))

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits."""
        features: Tensor = self.body(clips)
        return features, self.head(features)


def load(path: Path) -> MotionCNN:
    """The network of a file, float32, in evaluation mode.

    Raises:
        AssetError: it cannot be read, or holds another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    network = MotionCNN()
    try:
        network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise AssetError(f"{path} does not hold this network ({error}); restore it") from error
    return network.eval().requires_grad_(False)


def train_motion(
    *, seed: int, recipe: Recipe | None = None, progress: Progress = ignore, checkpoint: Path | None = None
) -> tuple[MotionCNN, dict[str, Any]]:
    """Train on broad clips; a linear decoder of clip and path is trained along and thrown away.

    Returns:
        The network in evaluation mode and its training record.
    """
    recipe = recipe or Recipe()
    network = seeded(MotionCNN, seed)
    pixels = FRAMES * SIZE * SIZE
    decoder = seeded(lambda: nn.Linear(FEATURES, pixels + 2 * FRAMES), seed)
    both = nn.ModuleDict({"network": network, "decoder": decoder})

    def loss(generator: Generator, _: int) -> Tensor:
        clips, digit, path = draw_clips(recipe.plan.batch, generator, broad=True)
        level = recipe.noise * torch.rand(len(clips), 1, 1, 1, 1, generator=generator)
        features, logits = network(clips + level * torch.randn(clips.shape, generator=generator))
        rebuilt, where = decoder(features).float().split([pixels, 2 * FRAMES], dim=1)
        total = F.cross_entropy(logits.float(), digit)
        total = total + recipe.path * F.mse_loss(where, path.flatten(1) / (ROOM / 2) - 1)
        return total + recipe.reconstruction * F.mse_loss(rebuilt, clips.flatten(1))

    state, run = train(both, loss, recipe.plan, How(seed, progress, checkpoint))
    network.load_state_dict({k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")})
    network.eval().requires_grad_(False)
    record = {"seed": seed, "accuracy": accuracy(network), "recipe": asdict(recipe), "run": run}
    return network, {**record, "parameters": sum(p.numel() for p in network.parameters())}


@torch.inference_mode()
def accuracy(network: MotionCNN) -> float:
    """Share of 2,000 broad clips with other paths, of the same digits, whose class is found."""
    clips, digit, _ = draw_clips(2000, Generator().manual_seed(2**31), broad=True)
    return round(float((network(clips)[1].argmax(1) == digit).float().mean()), 4)
