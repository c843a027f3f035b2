"""The feature network: size, shapes, no dead unit."""

import torch
from torch import Generator

from bench.nets.classifier import DigitsCNN
from bench.nets.optimise import seeded


def test_size_and_shapes() -> None:
    network = DigitsCNN()
    assert sum(p.numel() for p in network.parameters()) <= 150_000
    features, logits = network(torch.zeros(3, 1, 8, 8))
    assert features.shape == (3, 64)
    assert logits.shape == (3, 10)


def test_every_feature_responds_smoothly() -> None:
    network = seeded(DigitsCNN, 0).eval().requires_grad_(False)
    x = torch.randn(50, 1, 8, 8, generator=Generator().manual_seed(0))
    features, _ = network(x)
    assert features.std(0).min() > 0
    nudged, _ = network(x + 1e-3)
    assert (nudged != features).any(dim=0).all()
